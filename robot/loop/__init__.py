"""The control loop, its states, and an episode from arming to rest.

Must not know the network, the disk, nor which episodes to run.
"""
