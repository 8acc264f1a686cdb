"""Task families and fast batched simulators. Knows nothing of training, robots or torch."""
