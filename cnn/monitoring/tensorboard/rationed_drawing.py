"""Drawing that takes a limited share of the time."""

import time
from collections.abc import Callable, Sequence
from typing import Any

_SHARE = 0.005
"""Maximum share of the time that is spent on drawing."""

Draw = Callable[[], Sequence[Any]]
"""Draws something; returns the values of an event."""


class RationedDrawing:
    """Draws what is offered, unless too little time has passed since the last drawing. The last offer is never lost.

    Args:
        spent: a clock of the time that the calling thread has spent, in seconds.
        clock: a clock in seconds.
    """

    def __init__(
        self, spent: Callable[[], float] = time.thread_time, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._spent = spent
        self._clock = clock
        self._next = -float("inf")
        self._left_out: tuple[int, Draw] | None = None

    def draw(self, step: int, draw: Draw) -> Sequence[Any]:
        """What `draw` returns; nothing if it is not drawn now."""
        if self._clock() < self._next:
            self._left_out = step, draw
            return ()
        self._left_out = None
        begin = self._spent()
        drawn = draw()
        self._next = self._clock() + (self._spent() - begin) / _SHARE
        return drawn

    def left_out(self) -> tuple[int, Sequence[Any]]:
        """The step and the drawing of the last offer if it was left out; else step 0 and nothing."""
        if self._left_out is None:
            return 0, ()
        (step, draw), self._left_out = self._left_out, None
        return step, draw()
