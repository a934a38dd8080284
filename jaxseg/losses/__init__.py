"""The losses, one file each: `config.loss` names them and says with what weights they are added.

Each returns (sum, count), so that devices and micro-batches add up before the division: the loss of
a step is the sum over valid pixels divided by their number in the *global* batch. A mean of
per-device means would weigh a device with few valid pixels as much as one with many.
"""
