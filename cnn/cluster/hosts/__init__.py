"""The hosts of a job: which they are, by which names and networks they reach each other."""
