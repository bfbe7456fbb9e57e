"""The exchange of gradients inside a step, and the choice of its way by cost."""
