"""SMAC and what it is compared with: losses and updates, one file an algorithm.

Must not know phases, files or robots.
"""
