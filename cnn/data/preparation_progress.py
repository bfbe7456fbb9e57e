"""How far the preparing of a data set is, on stderr: a bar on a terminal, else a line now and then."""

import sys
import time

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 10


class PreparationProgress:
    """Shows how many images are decoded; remembers how many of them were decoded now, and in what time."""

    def __init__(self) -> None:
        self.images = 0
        """Decoded since the start; those that an earlier preparation had done do not count."""

        self.seconds = 0.0
        """From the start to the last image."""

    def start(self, name: str, total: int, done: int) -> None:
        """Begins with `done` of `total` images, the earlier preparation's."""
        self._name, self._total, self._done = name, total, done
        self._begin = self._shown = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(desc=f"preparing {name}", total=total, initial=done, unit=" images", file=sys.stderr)
        elif 0 < done < total:
            self._print(f"goes on after {done:,} of {total:,} images")

    def advance(self, images: int) -> None:
        """So many more are decoded and on the disk."""
        now = time.monotonic()
        self.images += images
        self.seconds = now - self._begin
        if self._bar is not None:
            self._bar.update(images)
        elif now - self._shown >= _SECONDS_BETWEEN_LINES:
            speed = self.images / self.seconds
            self._print(f"{self._done + self.images:,} of {self._total:,} images, {speed:,.0f} a second")
            self._shown = now

    def close(self) -> None:
        """Leaves the last state on show."""
        if self._bar is not None:
            self._bar.close()

    def _print(self, text: str) -> None:
        print(f"preparing {self._name}: {text}", file=sys.stderr, flush=True)
