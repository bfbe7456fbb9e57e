"""How gradients change weights: optimizers, schedules, regularisation, averages."""
