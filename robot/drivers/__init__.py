"""Drivers, one a kind of hardware, and the boundary that checks what crosses to and from them.

Others' are found by entry point `fieldtune.drivers`. Must not know the loop, nor limits.
"""
