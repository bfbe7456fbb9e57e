"""The prepared form of a data set on disk, how it is made, and how it is found again."""
