"""Who acts while episodes are recorded: a person through the driver, a script, a program.

Must not know limits, the journal, nor what is recorded.
"""
