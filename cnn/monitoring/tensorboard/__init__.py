"""What TensorBoard shows of a run, written in the background."""
