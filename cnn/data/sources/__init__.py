"""A file for each data set, the table of them all, and how their files are downloaded."""
