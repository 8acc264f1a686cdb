"""Where learning curves go: TensorBoard, W&B, MLflow, Trackio, or a package's own tracker.

`fieldtune.train.runs.trackers.tracker` is the contract. Each of ours loads its library when it is
made, so that none is needed but those that a run asks for.
"""
