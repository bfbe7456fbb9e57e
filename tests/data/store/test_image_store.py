import dataclasses
import json
import logging
import multiprocessing
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cnn.data.dataset import Dataset
from cnn.data.images.image_file import decode_image
from cnn.data.source import ImageIndex
from cnn.data.sources.digits import DIGITS
from cnn.data.sources.folder import FOLDER
from cnn.data.sources.folder import index as index_folder
from cnn.data.store.image_store import open_image_store
from cnn.data.store.preparation_progress import PreparationProgress
from cnn.data.store.store import open_store
from cnn.errors import RunError, UserError
from tests.hostile import altered, altered_json, examples, read_or_sentence

Noise = Callable[..., Image.Image]


def _open(
    folder: Path, progress: PreparationProgress | None = None, *, size: int = 16, skip_damaged: bool = False
) -> Dataset:
    progress = progress or PreparationProgress()
    return open_image_store("mine", folder, FOLDER.index(folder), size, skip_damaged=skip_damaged, progress=progress)


def _decoded(folder: Path, *, skip_damaged: bool = False) -> int:
    """How many images had to be decoded."""
    progress = PreparationProgress()
    _open(folder, progress, skip_damaged=skip_damaged)
    return progress.images


def _stores(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "stores").iterdir() if path.is_dir())


def _unfinished(cache: Path) -> Path:
    (store,) = _stores(cache)
    assert store.name.endswith(".unfinished")
    return store


def _recorded(cache: Path) -> int:
    """How many images an unfinished store's record names."""
    records = (_unfinished(cache) / "record").glob("*.jsonl")
    chunks = [json.loads(line) for record in records for line in record.read_text().splitlines() if line]
    return sum(chunk["stop"] - chunk["start"] for chunk in chunks)


def _content(store: Path) -> dict[str, bytes]:
    """All but when files were seen, which is of no two stores the same."""
    return {path.name: path.read_bytes() for path in store.iterdir() if "-" not in path.name}


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 images of 8x8 pixels, which are 17 chunks."""
    folder = tmp_path_factory.mktemp("many")
    generator = np.random.default_rng(1)
    for name in ("a", "b"):
        (folder / name).mkdir()
        for number in range(1000):
            (folder / name / f"{number}.ppm").write_bytes(b"P6 8 8 255\n" + generator.bytes(192))
    return folder


def test_what_is_in_the_files_is_what_is_opened(image_folder: Path, cache: Path) -> None:
    dataset = _open(image_folder)
    index = FOLDER.index(image_folder)
    for part, files in ((dataset.train, index.train), (dataset.test, index.test)):
        assert part.labels.tolist() == [file.label for file in files]
        expected = [decode_image(image_folder / file.path, 16) for file in files]
        assert np.array_equal(part.images, expected)
        assert isinstance(part.images, np.memmap)
        assert not part.images.flags.writeable
    assert dataset.class_names == ("cat", "dog")
    scaled = dataset.train.images / 255
    assert np.allclose(dataset.mean, scaled.mean((0, 1, 2)), rtol=1e-12)
    assert np.allclose(dataset.standard_deviation, scaled.std((0, 1, 2)), rtol=1e-12)
    (store,) = _stores(cache)
    assert np.array_equal(dataset.train_keys, [file.key for file in index.train])
    arrays = ["train_keys.npy", *(f"{part}_{kind}.npy" for part in ("train", "test") for kind in ("images", "labels"))]
    assert sorted(_content(store)) == sorted([*arrays, "manifest.json", "sources.npy"])
    assert _decoded(image_folder) == 0


@pytest.mark.parametrize("change", ["time", "name", "class", "more"])
def test_changed_files_make_a_new_store(image_folder: Path, cache: Path, noise: Noise, change: str) -> None:
    _open(image_folder)
    path = image_folder / "dog" / "0.png"
    if change == "time":
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    if change == "name":
        path.rename(path.with_name("another.png"))
    if change == "class":
        path.parent.rename(image_folder / "wolf")
    if change == "more":
        noise(7).save(path.with_name("more.png"))
    assert _decoded(image_folder) == (11 if change == "more" else 10)
    assert len(_stores(cache)) == 2


def test_another_size_is_another_store(image_folder: Path, cache: Path) -> None:
    assert _open(image_folder).image_shape == (16, 16, 3)
    assert _open(image_folder, size=8).image_shape == (8, 8, 3)
    assert len(_stores(cache)) == 2


def _damage(folder: Path) -> list[Path]:
    """Damages one image to train and one to test, in the order of the parts."""
    index = FOLDER.index(folder)
    paths = [folder / index.train[1].path, folder / index.test[0].path]
    paths[0].write_bytes(paths[0].read_bytes()[:300])
    paths[1].write_text("no image")
    return paths


def test_damaged_images_are_refused_by_name(image_folder: Path, cache: Path) -> None:
    one, other = _damage(image_folder)
    with pytest.raises(UserError) as caught:
        _open(image_folder)
    text = str(caught.value)
    assert text.startswith(f"2 image files cannot be used: {one} (cannot be decoded: ")
    assert text.endswith(
        f", {other} (a text file); replace or remove all damaged files, or leave them out by --damaged skip."
    )
    assert _unfinished(cache)


def test_damaged_images_are_skipped_and_told(image_folder: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    damaged = _damage(image_folder)
    with pytest.raises(UserError):
        _open(image_folder)
    with caplog.at_level(logging.WARNING):
        assert _decoded(image_folder, skip_damaged=True) == 0  # it goes on with what the refused preparation had done
    (record,) = caplog.records
    assert record.getMessage().startswith(f"2 image files left out: {damaged[0]} (")
    dataset, index = _open(image_folder, skip_damaged=True), FOLDER.index(image_folder)
    for part, files in ((dataset.train, index.train), (dataset.test, index.test)):
        good = [file for file in files if image_folder / file.path not in damaged]
        assert len(good) == len(files) - 1
        assert part.labels.tolist() == [file.label for file in good]
        assert np.array_equal(part.images, [decode_image(image_folder / file.path, 16) for file in good])
    scaled = dataset.train.images / 255
    assert np.allclose(dataset.mean, scaled.mean((0, 1, 2)), rtol=1e-12)
    assert np.allclose(dataset.standard_deviation, scaled.std((0, 1, 2)), rtol=1e-12)


def _with_validation(folder: Path) -> ImageIndex:
    """The first two of the training images are the data set's own validation part."""
    index = FOLDER.index(folder)
    return dataclasses.replace(index, train=index.train[2:], validation=index.train[:2])


def _open_index(folder: Path, index: ImageIndex) -> Dataset:
    return open_image_store("mine", folder, index, 16, skip_damaged=True, progress=PreparationProgress())


def test_the_data_sets_own_validation_part_is_behind_the_training_images(image_folder: Path) -> None:
    first, second = (image_folder / file.path for file in _with_validation(image_folder).validation)
    first.write_text("not an image")
    index = _with_validation(image_folder)
    dataset = _open_index(image_folder, index)
    assert dataset.validation_images == 1
    expected = [decode_image(image_folder / file.path, 16) for file in [*index.train, index.validation[1]]]
    assert np.array_equal(dataset.train.images, expected)
    second.write_text("not an image either")
    with pytest.raises(UserError, match=f"all validation images in {image_folder} are damaged"):
        _open_index(image_folder, _with_validation(image_folder))


def test_images_divided_by_place_have_no_keys(image_folder: Path) -> None:
    dataset = _open_index(image_folder, index_folder(image_folder, "by place"))
    assert (dataset.train_keys, dataset.validation_images, dataset.division) == (None, 0, "by place")


def test_a_store_without_the_skipped_images_is_refused_where_they_are_to_be_there(image_folder: Path) -> None:
    damaged = _damage(image_folder)
    _open(image_folder, skip_damaged=True)
    with pytest.raises(UserError, match=f"2 image files cannot be used: {damaged[0]}"):
        _open(image_folder)


def test_without_damaged_images_there_is_one_store(image_folder: Path, cache: Path) -> None:
    _open(image_folder)
    assert _decoded(image_folder, skip_damaged=True) == 0
    assert len(_stores(cache)) == 1


def test_what_is_not_used_is_told_by_who_prepares_and_by_who_asks(
    image_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (image_folder / "cat" / "1.heic").touch()
    text = f"warning: not used in {image_folder}: files of unsupported types (.heic: 1)"
    progress = PreparationProgress()
    _open(image_folder, progress)
    progress.print_notes()  # they are told already
    assert [record.getMessage() for record in caplog.records] == [text]
    caplog.clear()
    progress = PreparationProgress()
    _open(image_folder, progress)
    assert caplog.records == []
    progress.print_notes()
    assert [record.getMessage() for record in caplog.records] == [text]


def test_of_many_damaged_images_ten_are_named(image_folder: Path, cache: Path) -> None:
    for number in range(12):
        (image_folder / "cat" / f"bad{number:02}.jpg").touch()
    with pytest.raises(UserError) as caught:
        _open(image_folder)
    assert str(caught.value).startswith("12 image files cannot be used: ")
    assert str(caught.value).count("bad") == 10
    assert ", and 2 more; replace" in str(caught.value)


def test_names_that_would_drive_a_terminal_are_escaped(image_folder: Path) -> None:
    (image_folder / "cat" / "two\n\x1b[31m.jpg").touch()
    with pytest.raises(UserError) as caught:
        _open(image_folder)
    assert f"{image_folder}/cat/two\\n\\x1b[31m.jpg (an empty file)" in str(caught.value)


def test_a_class_that_loses_all_its_images(image_folder: Path) -> None:
    for path in (image_folder / "dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match=f"all training images of the class 'dog' in {image_folder} are damaged: repl"):
        _open(image_folder, skip_damaged=True)


def test_the_test_part_loses_all_its_images(image_folder: Path) -> None:
    for file in FOLDER.index(image_folder).test:
        (image_folder / file.path).write_bytes(b"")
    with pytest.raises(UserError, match=f"all test images in {image_folder} are damaged: replace"):
        _open(image_folder, skip_damaged=True)


class _Kill(PreparationProgress):
    """Kills the workers as soon as something is done."""

    def advance(self, images: int) -> None:
        for worker in multiprocessing.active_children():
            worker.kill()


def test_a_killed_worker_ends_the_preparation_which_can_be_gone_on_with(many: Path, cache: Path) -> None:
    with pytest.raises(RunError, match="a process that decodes images was killed or ran out of memory"):
        _open(many, _Kill())
    recorded = _recorded(cache)
    assert 0 < recorded < 2000
    assert _decoded(many) == 2000 - recorded


class _RemoveArrays(PreparationProgress):
    """Takes the arrays away before they are written to."""

    def __init__(self, stores: Path) -> None:
        super().__init__()
        self._stores = stores

    def start(self, name: str, total: int, done: int) -> None:
        for path in self._stores.glob("*/*_images.npy"):
            path.unlink()
        super().start(name, total, done)


def test_arrays_that_cannot_be_written(image_folder: Path, cache: Path) -> None:
    with pytest.raises(UserError, match=r"stores cannot be used \(No such file or directory\): free space"):
        _open(image_folder, _RemoveArrays(cache / "stores"))
    assert _decoded(image_folder) == 10


_PROGRAM = """
import multiprocessing, sys
from pathlib import Path
from cnn.data.sources.folder import FOLDER
from cnn.data.store.image_store import open_image_store
from cnn.data.store.preparation_progress import PreparationProgress

class Loud(PreparationProgress):
    def start(self, name, total, done):
        super().start(name, total, done)
        print("start", done, flush=True)
        sys.stdin.readline()
    def advance(self, images):
        super().advance(images)
        print("workers", *(worker.pid for worker in multiprocessing.active_children()), flush=True)
        {at_each_chunk}

folder = Path(sys.argv[1])
progress = Loud()
{first}
dataset = open_image_store("mine", folder, FOLDER.index(folder), 16, skip_damaged=False, progress=progress)
print("decoded", progress.images, dataset.checksum, flush=True)
"""


def _start(folder: Path, *, at_each_chunk: str = "pass", first: str = "") -> subprocess.Popen[str]:
    """A process that is about to decode; it goes on once it is sent a line."""
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.format(at_each_chunk=at_each_chunk, first=first), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
        start_new_session=True,
    )


def _go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def _line(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def test_a_killed_preparation_is_gone_on_with(
    many: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = _start(many, at_each_chunk="sys.stdin.readline()")
    assert _line(process) == ["start", "0"]
    _go(process)
    for _ in range(5):  # it records a chunk, says so, and waits
        assert _line(process)[0] == "workers"
        _go(process)
    assert _line(process)[0] == "workers"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    recorded = _recorded(cache)
    assert recorded >= 5 * 128
    with open(_unfinished(cache) / "record" / "0.jsonl", "a") as file:
        file.write('{"part": "train", "sta')  # as when it is killed while it writes
    assert _decoded(many) == 2000 - recorded
    (store,) = _stores(cache)
    monkeypatch.setenv("CNN_CACHE_DIR", str(tmp_path / "undisturbed"))
    assert _decoded(many) == 2000
    (undisturbed,) = _stores(tmp_path / "undisturbed")
    assert _content(store) == _content(undisturbed)


def test_a_line_of_the_record_that_is_cut_off_costs_its_own_chunk_only(image_folder: Path, cache: Path) -> None:
    _damage(image_folder)
    decoded = []
    for _ in range(4):
        progress = PreparationProgress()
        with pytest.raises(UserError):
            _open(image_folder, progress)
        decoded.append(progress.images)
        if len(decoded) == 2:
            record = _unfinished(cache) / "record" / "0.jsonl"
            record.write_text(record.read_text().rstrip()[:-5])
    assert decoded == [10, 0, len(FOLDER.index(image_folder).test), 0]


def test_what_is_recorded_of_other_files_is_not_used(image_folder: Path, cache: Path, noise: Noise) -> None:
    _damage(image_folder)
    with pytest.raises(UserError):
        _open(image_folder)
    for path in image_folder.glob("*/*"):
        noise(5).save(path)
    assert _decoded(image_folder) == 10
    (store,) = _stores(cache)
    assert not store.name.endswith(".unfinished")


def test_what_can_be_gone_on_with_outlives_all_but_a_change_of_its_files(
    image_folder: Path, cache: Path, tmp_path: Path, noise: Noise, caplog: pytest.LogCaptureFixture
) -> None:
    other_folder = shutil.copytree(image_folder, tmp_path / "other")
    bad, _ = _damage(image_folder)
    with pytest.raises(UserError):
        _open(image_folder)
    unfinished = _unfinished(cache)
    assert _decoded(other_folder) == 10
    with pytest.raises(UserError):
        _open(image_folder, size=8)
    open_store("digits", DIGITS.read)
    progress = PreparationProgress()
    with pytest.raises(UserError):
        _open(image_folder, progress)
    assert progress.images == 0  # it has gone on
    assert caplog.records == []
    noise(6).save(bad)
    with pytest.raises(UserError):
        _open(image_folder)
    assert not unfinished.exists()
    (record,) = caplog.records
    assert record.getMessage() == f"the unfinished {unfinished} is removed since its source files have changed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_ended_preparation_leaves_no_processes(many: Path, cache: Path, number: signal.Signals) -> None:
    process = _start(many, at_each_chunk="sys.stdin.readline()")
    _line(process)
    _go(process)
    workers = [os.pidfd_open(int(pid)) for pid in _line(process)[1:]]
    assert workers
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == -number
    for worker in workers:
        poll = select.poll()
        poll.register(worker, select.POLLIN)
        assert poll.poll(60_000), "a worker goes on without its parent"
        os.close(worker)
    assert 0 < _recorded(cache) < 2000


def test_of_two_processes_one_prepares_and_the_other_helps(many: Path, cache: Path) -> None:
    first = _start(many)
    assert _line(first) == ["start", "0"]
    second = _start(many)
    while (line := _line(second))[0] == "workers" and _recorded(cache) < 2000:
        pass
    assert line[0] == "workers"
    with pytest.raises(subprocess.TimeoutExpired):  # it waits for the first one, which has the store's lock
        second.communicate(timeout=1)
    last = first.communicate("\n", timeout=60)[0].splitlines()[-1].split()
    assert last[:2] == ["decoded", "2000"]
    assert second.communicate(timeout=60)[0].split()[-3:] == last
    assert len(_stores(cache)) == 1


def test_what_a_killed_helper_leaves_is_done_by_the_other(many: Path, cache: Path) -> None:
    first = _start(many)
    assert _line(first) == ["start", "0"]
    second = _start(many, at_each_chunk="sys.stdin.readline()")
    assert _line(second)[0] == "workers"
    os.killpg(second.pid, signal.SIGKILL)
    second.communicate()
    recorded = _recorded(cache)
    assert 0 < recorded < 2000
    output, error = first.communicate("\n", timeout=60)
    assert output.splitlines()[-1].startswith("decoded 2000 "), error
    dataset = _open(many)
    for part, files in ((dataset.train, FOLDER.index(many).train), (dataset.test, FOLDER.index(many).test)):
        assert np.array_equal(part.images, [decode_image(many / file.path, 16) for file in files])


def test_what_another_process_prepares_is_no_leftover(image_folder: Path, cache: Path) -> None:
    first = _start(image_folder)
    assert _line(first) == ["start", "0"]
    path = image_folder / "dog" / "0.png"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert _decoded(image_folder) == 10  # into another store, as a file has changed
    output, error = first.communicate("\n", timeout=60)
    assert output.splitlines()[-1].startswith("decoded 10 "), error
    assert len(_stores(cache)) == 2


def test_a_full_disk_is_explained_before_anything_is_decoded(many: Path) -> None:
    """Files may have 50,000 bytes only, which the images exceed."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))"
    output, error = _start(many, first=limit).communicate("\n", timeout=60)
    assert output == ""
    assert "cnn.errors.UserError: the cache folder" in error
    assert "set CNN_CACHE_DIR to another folder" in error


@examples(40)
@given(st.data(), st.booleans())
def test_any_record_is_gone_on_with_or_is_one_sentence(
    image_folder: Path, cache: Path, data: st.DataObject, skip_damaged: bool
) -> None:
    kept = image_folder.with_name("kept")
    if not kept.exists():
        _damage(image_folder)
        with pytest.raises(UserError):
            _open(image_folder)
        (cache / "stores").rename(kept)
    shutil.rmtree(cache, ignore_errors=True)
    shutil.copytree(kept, cache / "stores")
    record = _unfinished(cache) / "record" / "0.jsonl"
    first, *others = record.read_bytes().split(b"\n")[1:]
    changed = json.dumps(data.draw(altered_json(json.loads(first)))).encode()
    record.write_bytes(data.draw(altered(record.read_bytes()) | st.just(b"\n".join([changed, *others]))))
    dataset = read_or_sentence(lambda: _open(image_folder, skip_damaged=skip_damaged), str(image_folder), UserError)
    if dataset is not None:
        assert np.isfinite([*dataset.mean, *dataset.standard_deviation]).all()
        assert len(dataset.train.images) <= 8


@pytest.mark.parametrize("content", [b"", b"[[1, 2]]", b"{}", b"\xff", b"[" * 5000])
def test_what_says_which_images_were_left_out_may_be_damaged(image_folder: Path, cache: Path, content: bytes) -> None:
    _damage(image_folder)
    _open(image_folder, skip_damaged=True)
    (store,) = _stores(cache)
    (store / "damaged.json").write_bytes(content)
    assert read_or_sentence(lambda: _open(image_folder), str(store / "damaged.json"), UserError) is None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00\x03\x00{(\n", b"text"])
def test_a_preparation_whose_arrays_are_damaged_begins_again(image_folder: Path, cache: Path, content: bytes) -> None:
    _damage(image_folder)
    with pytest.raises(UserError):
        _open(image_folder)
    (_unfinished(cache) / "train_images.npy").write_bytes(content)
    assert _decoded(image_folder, skip_damaged=True) == 10
