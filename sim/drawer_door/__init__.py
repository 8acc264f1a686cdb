"""The `drawer-door` family: what to open and how far, no observation shows."""
