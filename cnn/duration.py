"""Human-readable durations."""

import re

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_WRITTEN = re.compile("".join(rf"(?:(\d+){unit})?" for unit in _UNITS), re.ASCII)


def duration(seconds: float) -> str:
    """Formats seconds as 14 s, 1 min 12 s or 3 h 5 min."""
    minutes, remainder = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {remainder} s" if minutes else f"{remainder} s"


def seconds_of(text: str) -> int:
    """Reads a duration such as 90m, 8h or 1h30m.

    Raises:
        ValueError: it is written in another way, or is 0.
    """
    match = _WRITTEN.fullmatch(text)
    numbers = match.groups("0") if match else ()
    seconds = sum(int(number) * unit for number, unit in zip(numbers, _UNITS.values(), strict=False))
    if not seconds:
        raise ValueError(f"{text!r} is not a duration")
    return seconds
