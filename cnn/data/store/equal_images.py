"""Detection of identical images in two parts or two classes of a data set, which make results on it doubtful."""

from collections.abc import Iterable

from cnn.data.folders.listing import shown
from cnn.data.source import ImageFile


class EqualImages:
    """Finds image files that are identical byte by byte.

    Args:
        images: image, name of its part, and digest, for each image.
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
        """Up to two sentences, with an example: on identical images in two parts, and in two classes."""
        return [
            f"{len(pairs):,} {'image is' if len(pairs) == 1 else 'images are'} also in another {kind}, with the same "
            f"content: {' and '.join(map(shown, pairs[0]))}{'' if len(pairs) == 1 else ', for example'}"
            for kind, pairs in (("part", self._in_two_parts), ("class", self._in_two_classes))
            if pairs
        ]
