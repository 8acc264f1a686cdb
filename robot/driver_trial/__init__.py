"""A driver tried out without a bundle: looked at, homed, held still, and what that showed.

Must not know the journal, the network, nor who prints what it found.
"""
