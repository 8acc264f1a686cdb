"""`fieldtune`: one file a command, and what they share.

Parses options, prints, and says errors. Must not hold what a command does.
"""
