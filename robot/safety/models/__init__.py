"""A robot's joints and their limits, read from MJCF or URDF.

Reads files; must not know which limits are in force.
"""
