"""The policy on the robot: a bundle's graphs, the posterior, exploration, labels, saved tasks.

Must not know drivers, the loop, nor the network.
"""
