"""Human-readable durations."""


def duration(seconds: float) -> str:
    """Formats seconds as 14 s, 1 min 12 s or 3 h 5 min."""
    minutes, remainder = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {remainder} s" if minutes else f"{remainder} s"
