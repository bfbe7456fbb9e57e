"""How far a long piece of work is, on stderr: a bar on a terminal, else a line now and then."""

import shutil
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

_SECONDS_BETWEEN_LINES = 10


class Unit(NamedTuple):
    """What is counted."""

    name: str
    """As lines show it."""

    size: int
    """How many of what is counted are one of these."""

    bar: str
    """As a bar shows it, behind a number that is shortened if the size is above 1."""


IMAGES = Unit("images", 1, " images")
FILES = Unit("files", 1, " files")
MEGABYTES = Unit("MB", 1_000_000, "B")


class WorkProgress:
    """Shows how much is done; lines come every ten seconds at most, so that quick work is silent.

    Args:
        what: is done, as in "preparing digits".
        done: of an earlier start.
        total: with what is done; None if that is not known.
        unit: of the numbers shown; `done`, `total` and what is added count the smallest ones, images or bytes.
        clock: gives seconds from any origin.
    """

    def __init__(
        self, what: str, *, done: int, total: int | None, unit: Unit, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = 0.0
        """From the start to what was added last."""

        self._what, self._earlier, self._total, self._unit, self._clock = what, done, total, unit, clock
        self._added = 0
        self._begin = self._shown = clock()
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm  # only here: it is not needed where nothing is to do

            columns, lines = shutil.get_terminal_size()  # 80 and 24 where it has no size, as mpirun's has none
            self._bar = tqdm(
                desc=what,
                total=total,
                initial=done,
                unit=unit.bar,
                unit_scale=unit.size > 1,
                file=sys.stderr,
                ncols=columns,
                nrows=lines,
            )
        elif done and done != total:
            self._print(f"goes on after {self._state()}")

    def add(self, count: int) -> None:
        """So much more is done."""
        now = self._clock()
        self._added += count
        self.seconds = now - self._begin
        if self._bar is not None:
            self._bar.update(count)
        elif now - self._shown >= _SECONDS_BETWEEN_LINES:
            self._print(f"{self._state()}, {self._number(self._added / self.seconds)} a second")
            self._shown = now

    def close(self) -> None:
        """Leaves the last state on show."""
        if self._bar is not None:
            self._bar.close()

    def _state(self) -> str:
        whole = "" if self._total is None else f" of {self._number(self._total)}"
        return f"{self._number(self._earlier + self._added)}{whole} {self._unit.name}"

    def _number(self, count: float) -> str:
        return f"{count / self._unit.size:,.{0 if self._unit.size == 1 else 1}f}"

    def _print(self, text: str) -> None:
        print(f"{self._what}: {text}", file=sys.stderr, flush=True)
