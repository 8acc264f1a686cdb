"""Offline and self-supervised training, read top to bottom.

Must not know the command line, nor how results are shown.
"""
