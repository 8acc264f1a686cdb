"""The `push` family: a block on the table must come to a place that no observation shows."""
