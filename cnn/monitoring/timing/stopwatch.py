"""The division of a process's time among its activities."""

import contextlib
import time
from collections.abc import Callable, Iterator


class Stopwatch:
    """Attributes each moment to one activity, so that their seconds add up to the time since the first.

    Args:
        activity: what the process has been doing until now.
        seconds: for how long.
        begun: called with each activity that begins, also with one that goes on.
    """

    def __init__(
        self, activity: str, seconds: float = 0.0, begun: Callable[[str], None] = lambda activity: None
    ) -> None:
        self._begun = begun
        self._seconds = {activity: seconds}
        self._activity = activity
        self._since = time.perf_counter()
        begun(activity)

    def switch(self, activity: str) -> str:
        """Attributes the time from now on to an activity; returns the one that ends."""
        ended, now = self._activity, time.perf_counter()
        self._seconds[ended] += now - self._since
        self._seconds.setdefault(activity, 0.0)
        self._activity, self._since = activity, now
        self._begun(activity)
        return ended

    @contextlib.contextmanager
    def during(self, activity: str) -> Iterator[None]:
        """Attributes the time of a block to an activity."""
        interrupted = self.switch(activity)
        try:
            yield
        finally:
            self.switch(interrupted)

    def move(self, seconds: float, source: str, target: str) -> None:
        """Attributes seconds that have been attributed to `source` to `target` instead; at most all of them."""
        seconds = min(seconds, self._seconds.get(source, 0.0))
        if seconds > 0:
            self._seconds[source] -= seconds
            self._seconds[target] = self._seconds.get(target, 0.0) + seconds

    def seconds(self) -> dict[str, float]:
        """The seconds of each activity until now."""
        self.switch(self._activity)
        return dict(self._seconds)
