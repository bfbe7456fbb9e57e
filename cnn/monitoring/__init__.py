"""What a run leaves behind: its metrics, TensorBoard events, progress, curves and summary. Only rank 0 writes them."""
