"""`fieldtune study`: every method of one family, over seeds, in one table and one figure.

Starts jobs, one process each, and reads what they leave. Must not know how a method learns.
"""
