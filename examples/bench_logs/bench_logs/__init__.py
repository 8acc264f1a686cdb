"""The package bench-logs for fieldtune; README.md says what is in it."""
