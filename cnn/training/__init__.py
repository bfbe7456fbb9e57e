"""What a run computes, and when it looks, saves and ends."""
