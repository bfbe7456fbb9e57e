"""Chunks that several processes decode together."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn.data.sources.folder import FOLDER
from cnn.data.store import decoding, image_store
from cnn.data.store.preparation_progress import PreparationProgress
from cnn.data.store.shared_chunks import SharedChunks

IMAGES = 2000  # in four portions


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[SharedChunks, SharedChunks]:
    """The chunks of a preparation, as two processes with two workers each see them."""
    monkeypatch.setattr(decoding, "worker_count", lambda: 2)  # with more, they would take all portions at once
    folder, unfinished = tmp_path / "images", tmp_path / "store"
    (folder / "a").mkdir(parents=True)
    (folder / "b").mkdir()
    Image.fromarray(np.full((4, 4, 3), 7, np.uint8)).save(folder / "0.png")
    for number in range(IMAGES):
        (folder / "ab"[number % 2] / f"{number}.png").hardlink_to(folder / "0.png")
    (folder / "0.png").unlink()
    preparation = image_store._Preparation(
        name="mine",
        folder=folder,
        index=FOLDER.index(folder),
        size=4,
        jpeg=False,
        skip_damaged=False,
        progress=PreparationProgress(),
    )
    images = preparation._images(unfinished)
    image_store._begin(unfinished, images)
    first, second = (preparation._shared(unfinished, images, preparation._times()) for _ in range(2))
    return first, second


def test_what_others_have_done_is_seen_before_the_end(pair: tuple[SharedChunks, SharedChunks]) -> None:
    """Also the portions that they were working on when this process came to them."""
    mine, others = (chunks.decode(wait=False) for chunks in pair)
    done = [next(others), next(mine), *others]
    assert sum(each.stop - each.start for each in done) < IMAGES
    seen = [done[1], *mine]
    assert sum(each.stop - each.start for each in seen) == IMAGES
