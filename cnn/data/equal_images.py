"""Images with the same content in two parts or in two classes of a data set, which make its results doubtful."""

from collections.abc import Iterable

from cnn.data.listing import shown
from cnn.data.source import ImageFile


class EqualImages:
    """Finds files that are the same byte for byte.

    Args:
        images: each image with the name of its part and with its digest.
    """

    def __init__(self, images: Iterable[tuple[ImageFile, str, str]]) -> None:
        self._in_two_parts: list[tuple[str, str]] = []
        self._in_two_classes: list[tuple[str, str]] = []
        first: dict[str, tuple[ImageFile, str]] = {}
        for file, part, digest in images:
            other, other_part = first.setdefault(digest, (file, part))
            if other_part != part:
                self._in_two_parts.append((other.path, file.path))
            if other.label != file.label:
                self._in_two_classes.append((other.path, file.path))

    def notes(self) -> list[str]:
        """A sentence each on those in two parts and those in two classes, if there are some, with an example."""
        return [
            f"{len(pairs):,} {'image is' if len(pairs) == 1 else 'images are'} also in another {what}, with the same "
            f"content: {' and '.join(map(shown, pairs[0]))}{'' if len(pairs) == 1 else ', for example'}"
            for what, pairs in (("part", self._in_two_parts), ("class", self._in_two_classes))
            if pairs
        ]
