"""What a task family promises, checked one by one: for `fieldtune check-family`.

Knows families through their contract alone; no particular one, and nothing of learning.
"""
