"""Who says what a transition was worth while a robot adapts: driver, program, keys.

Must not know how rewards are used.
"""
