"""The figures of runs, as PNG files."""
