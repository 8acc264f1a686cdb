"""Work on other machines, through Ray: what it asks for, that they are alike, and how it ends.

Must not know what the work is. Ray is an extra of its own, and said to be missing where it is.
"""
