"""The policy on the robot: a bundle's graphs, the posterior, exploration, saved tasks.

Must not know drivers, the loop, nor the network.
"""
