"""The robot-side runtime. Never imports torch; only the `sim` driver reaches for a simulator."""
