"""Ablations of inference by the decoder's likelihood, on training tasks kept back from training.

    fieldtune collect --config configs/reach.yaml
    OMP_NUM_THREADS=1 python -m benchmarks.inference configs/reach.yaml trials/inference \\
        --kept-back 10 --seeds 0,1,2 --only sources,number data.path=data/reach

A family's held-out tasks are never acted in. docs/inference.md holds what was found.
"""
