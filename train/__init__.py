"""The workstation's half: data, learning, evaluation, reports, studies, the trainer's bridge."""
