"""The robot's end of the bridge: frames, transfers, uploads, one connection to the trainer.

Reads finished episodes from the journal and writes bundles to disk. Must not know the control loop,
nor what a policy does.
"""
