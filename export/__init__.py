"""The policy bundle: written on the workstation, read and verified anywhere without torch.

Must not know robots, simulators, or how a policy was trained.
"""
