"""A picture of what a robot does, for Rerun's viewer: live, or from a journal afterwards.

Reads the status file and the journal, as the monitor does, from a process of its own: the daemon
serves nothing and waits for nobody. Must not drive a robot, nor change what it reads.
"""
