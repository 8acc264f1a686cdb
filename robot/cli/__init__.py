"""`fieldtune-robot`: a file a command (`run` and `rearm` in `app.py`), and what they share.

Parses options, prints, handles signals, and says errors. Must not hold what a command does.
"""
