"""How far the preparation of a data set is, and what it found."""

import logging

from cnn.data.store.work_progress import IMAGES, WorkProgress

_logger = logging.getLogger(__name__)


class PreparationProgress:
    """Shows how many images are decoded, and counts those of this start and their time."""

    def __init__(self) -> None:
        self.images = 0
        """Images decoded since this start, by all processes that share the work if this one leads it. Those that an
        earlier preparation had decoded do not count."""

        self.is_help = False
        """Whether another process leads the preparation, which has the total and shows it."""

        self.seconds = 0.0
        """Time from the start to the latest image."""

        self.notes: tuple[str, ...] = ()
        """Remarks about the data set's files that have not been printed yet."""

    def print_notes(self) -> None:
        """Logs the remarks as warnings, once."""
        for note in self.notes:
            _logger.warning("warning: %s", note)
        self.notes = ()

    def helps(self) -> None:
        """From now on images are decoded for another process, which shows the progress."""
        self.is_help = True

    def start(self, name: str, total: int, done: int) -> None:
        """Starts with `done` of `total` images, which an earlier preparation has decoded."""
        self.is_help = False
        self._shown = WorkProgress(f"preparing {name}", done=done, total=total, unit=IMAGES)

    def advance(self, images: int) -> None:
        """Counts more images that are decoded and on the disk."""
        self.images += images
        if not self.is_help:
            self._shown.add(images)
            self.seconds = self._shown.seconds

    def close(self) -> None:
        """Leaves the latest state visible."""
        self._shown.close()
