"""How an image file becomes pixels: its format, its damage, its decoding, by all cores."""
