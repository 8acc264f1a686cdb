"""The journal: episodes on disk, written by one thread, read by any process.

Must not know the loop, the network, nor what is learned.
"""
