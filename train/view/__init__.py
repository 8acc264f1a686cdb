"""A picture of a run, for Rerun's viewer: its curves, its robots, what came from them and is
believed of their tasks. Reads a run's folder; must not train, nor change what it reads.
"""
