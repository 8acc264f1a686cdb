"""What a robot's process does from start to rest: explore, adapt, act.

Joins all other rooms of the robot; only the command line knows it.
"""
