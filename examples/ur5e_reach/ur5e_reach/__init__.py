"""The package ur5e-reach for fieldtune; README.md says what is in it."""
