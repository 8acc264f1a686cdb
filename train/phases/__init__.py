"""Phase 1 (`offline`), phase 2 (`self_supervised`) and its labels, and who feeds it.

`from_robots` is `fieldtune finetune`; `in_simulation` the oracle, and phase 2 of a study. Must not
know the command line, nor how results are shown.
"""
