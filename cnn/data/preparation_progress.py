"""How far the preparing of a data set is."""

import logging

from cnn.data.work_progress import IMAGES, WorkProgress

_logger = logging.getLogger(__name__)


class PreparationProgress:
    """Shows how many images are decoded; remembers how many of them were decoded now, and in what time."""

    def __init__(self) -> None:
        self.images = 0
        """Decoded since the start; those that an earlier preparation had done do not count."""

        self.seconds = 0.0
        """From the start to the last image."""

        self.notes: tuple[str, ...] = ()
        """What there is to say of the data set's files; nobody has said it yet."""

    def print_notes(self) -> None:
        """Says it as warnings, once."""
        for note in self.notes:
            _logger.warning("warning: %s", note)
        self.notes = ()

    def start(self, name: str, total: int, done: int) -> None:
        """Begins with `done` of `total` images, the earlier preparation's."""
        self._shown = WorkProgress(f"preparing {name}", done=done, total=total, unit=IMAGES)

    def advance(self, images: int) -> None:
        """So many more are decoded and on the disk."""
        self.images += images
        self._shown.add(images)
        self.seconds = self._shown.seconds

    def close(self) -> None:
        """Leaves the last state on show."""
        self._shown.close()
