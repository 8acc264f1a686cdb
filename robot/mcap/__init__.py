"""Episodes as MCAP, for Foxglove and Rerun. Must not change a journal."""
