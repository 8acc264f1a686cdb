"""The `pick-place` family: which block belongs where, no observation shows."""
