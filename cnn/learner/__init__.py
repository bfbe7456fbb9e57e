"""What a step computes: the network, its step and its evaluation, assembled."""
