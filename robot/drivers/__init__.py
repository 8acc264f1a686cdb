"""Drivers: one per kind of hardware, found by entry point `fieldtune.drivers`."""
