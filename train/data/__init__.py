"""Datasets on disk and the replay that batches are drawn from.

Must not know networks or losses.
"""
