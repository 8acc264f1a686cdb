"""The control loop, its states, and an episode from arming to rest.

Must not know the network, nor which episodes to run. The loop itself never waits for the disk.
"""
