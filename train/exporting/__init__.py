"""Datasets of ours in the formats of others.

Must not know what is learned from them.
"""
