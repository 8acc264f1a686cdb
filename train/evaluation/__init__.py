"""The protocol of evaluation, what it measures, and its statistics. Draws nothing."""
