"""Output of runs: metrics, TensorBoard events, progress, curves and summaries. Only rank 0 writes them."""
