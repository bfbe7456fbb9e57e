"""What a run leaves in files: metrics, summaries, predictions, and comparisons of several runs."""
