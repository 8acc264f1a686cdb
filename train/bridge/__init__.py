"""The trainer's end of the bridge: hub, keys, inbox, published bundles, the fleet.

Imports no torch: what comes off the network is handled away from the weights.
"""
