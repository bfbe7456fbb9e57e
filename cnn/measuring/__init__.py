"""Measurements: the cost of a training step, and the exactness of distributed training."""
