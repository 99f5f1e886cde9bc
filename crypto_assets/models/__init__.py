"""One file per model, nets and baselines alike: Config, fit, predict. `training/` holds the engine.

Here belongs what is fitted on a training slice. Nothing that combines models or scores them.
"""
