"""The policy bundle: written on the workstation, read and verified anywhere without torch."""
