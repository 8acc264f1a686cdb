"""What a robot's process does from start to rest: explore, adapt, act.

Joins the rooms that drive a robot; which bundle runs next is decided here. Only the command line
knows it.
"""
