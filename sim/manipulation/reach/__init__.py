"""The `reach` family: an arm, a hidden target, nothing to touch.

Apart from `families`, since its reward is dense and its batch its own.
"""
