"""The `point-goal` family: a point on a plane with a hidden goal, in numpy alone.

Where methods are compared in seconds. Must not know how anything is learned.
"""
