"""What a step costs, and whether training is exact."""
