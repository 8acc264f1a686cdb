"""The package rover-velocity for fieldtune; README.md says what is in it."""
