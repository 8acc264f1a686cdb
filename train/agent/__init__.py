"""The networks, what they compute, the posterior over tasks, and acting by them.

Must not know algorithms, nor how data are stored.
"""
