"""Timings against what a user would pick instead (`make bench`), and campaigns, a command each.

docs/benchmarks.md and docs/reliability.md hold what they found.
"""
