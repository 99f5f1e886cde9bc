"""Training: what every net shares, so that a model file is a Config and a Module.

`inputs` panel -> numbers a net reads; `heads` outputs, targets, loss; `device` the panel on the device, batches as gathers;
`engine` the loop; `schedule`, `ema`; `calibration` what validation fits; `net` all of it behind the Model protocol.
Nothing here knows one architecture from another.
"""
