"""`fieldtune`: a file a command, short ones in `app.py`, and what they share.

Parses options, prints, and says errors. Must not hold what a command does.
"""
