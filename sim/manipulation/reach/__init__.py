"""The `reach` family: a robosuite arm that must find a hidden target from rewards alone."""
