"""The device that a rank computes on: whether it can be used, its memory and its speed."""
