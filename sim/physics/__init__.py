"""Stepping many MuJoCo models at once, and pictures without a display.

Must not know families or tasks.
"""
