"""Which image files a folder holds, and which class and part each belongs to."""
