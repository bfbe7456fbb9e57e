"""The ranks of a job: their collective operations, whether they are alike and in step, and how they end."""
