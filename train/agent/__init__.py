"""The networks, what they compute, and the posterior over tasks.

Must not know losses, data or files.
"""
