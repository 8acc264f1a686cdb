"""A run: its settings, folder, checkpoints, curves and bundles, and what is built from them.

Must not know how a phase trains.
"""
