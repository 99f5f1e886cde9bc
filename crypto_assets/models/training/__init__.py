"""Training: what every net shares, so that a model file is a Config and a Module.

`inputs` panel -> numbers a net reads; `heads` outputs, targets, loss; `device` the panel on the device, batches as gathers;
`engine` the loop, `steps` one step of it, `state` what a killed one goes on from, `parallel` several processes; `config`,
`schedule`, `ema`; `switches`, `curriculum`, `adversarial` what may be switched on; `ensemble`, `memory`, `inference`;
`calibration` what validation fits; `net` all of it behind the Model protocol. Nothing here knows one architecture from another.
"""
