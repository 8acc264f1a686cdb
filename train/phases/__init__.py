"""Phase 1 (`offline`), phase 2 (`self_supervised`) and its labels, and who feeds it.

`finetune` takes episodes from robots, `in_simulation` explores in this process (oracle, studies).
Must not know the command line, nor how results are shown.
"""
