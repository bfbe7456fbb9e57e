"""What started this process: its launcher, its place in the job, and how it is told to stop."""
