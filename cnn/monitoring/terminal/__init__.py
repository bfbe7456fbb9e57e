"""What the terminal shows while a program works."""
