"""A run: its settings, folder, checkpoints, curves and bundles.

Must not know which phase is trained.
"""
