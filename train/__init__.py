"""The workstation side: learning, evaluation, reports and the trainer's end of the bridge."""
