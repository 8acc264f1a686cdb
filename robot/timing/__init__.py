"""Deadlines, real-time priority, and the record of how well they were kept.

Must not know what is done in a period.
"""
