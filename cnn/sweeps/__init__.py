"""What many runs show: recipes and their comparison."""
