"""The families on the table: tasks, fields and rewards.

Must not know how physics is stepped.
"""
