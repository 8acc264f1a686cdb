"""Formats of recorded data, one a file, each an importer (`fieldtune.train.importing.recording`).

Must not know families, mappings or tasks.
"""
