"""The data sets: sources, the store, the order of samples, the feed."""
