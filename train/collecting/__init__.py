"""Making a labelled dataset: rollouts, relabelling, resuming.

Must not know what is learned from it.
"""
