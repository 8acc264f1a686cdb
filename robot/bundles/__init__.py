"""Bundles on the robot: kept, tried in a process of their own, judged, trusted or not.

Must not know the network that brings them, nor which one runs next (`robot/programs/explore`).
"""
