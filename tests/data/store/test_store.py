import functools
import hashlib
import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.data.dataset import Dataset, Part
from cnn.data.source import RawDataset
from cnn.data.store.seen_times import SeenTimes, change_time
from cnn.data.store.store import open_store
from cnn.data.store.store_files import DamagedStoreError, open_files
from cnn.errors import UserError
from tests.hostile import altered, altered_json, examples

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def _raw(shift: int = 0) -> RawDataset:
    images = (np.arange(6 * 4 * 4 * 2).reshape(6, 4, 4, 2) + shift).astype(np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2], np.int32)
    return RawDataset(
        class_names=("a", "b", "c"),
        train=Part(images=images, labels=labels),
        test=Part(images=images[:2], labels=labels[:2]),
    )


def _never() -> RawDataset:
    raise AssertionError("the source was read")


def _stores(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "stores").iterdir() if path.is_dir())


def _equal(dataset: Dataset, raw: RawDataset) -> bool:
    pairs = [(dataset.train, raw.train), (dataset.test, raw.test)]
    same = [np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels) for a, b in pairs]
    return all(same)


def test_what_was_read_is_what_is_opened(cache: Path) -> None:
    dataset = open_store("tiny", _raw)
    assert _equal(dataset, _raw())
    assert (dataset.name, dataset.class_names, dataset.image_shape) == ("tiny", ("a", "b", "c"), (4, 4, 2))
    scaled = _raw().train.images / 255
    assert np.allclose(dataset.mean, scaled.mean((0, 1, 2)), rtol=1e-12)
    assert np.allclose(dataset.standard_deviation, scaled.std((0, 1, 2)), rtol=1e-12)
    assert isinstance(dataset.train.images, np.memmap)
    assert not dataset.train.images.flags.writeable
    (store,) = _stores(cache)
    (seen,) = store.glob("arrays-*.npy")
    assert sorted(path.name for path in store.iterdir()) == sorted(
        [f"{name}.npy" for name in ARRAYS] + ["manifest.json", seen.name]
    )


def test_statistics_of_more_images_than_are_counted_at_once() -> None:
    images = np.arange(2500 * 4, dtype=np.int64).astype(np.uint8).reshape(2500, 2, 2, 1)
    part = Part(images=images, labels=np.zeros(2500, np.int32))
    dataset = open_store("many", lambda: RawDataset(class_names=("a",), train=part, test=part))
    assert np.allclose(dataset.mean, images.mean() / 255, rtol=1e-12)
    assert np.allclose(dataset.standard_deviation, images.std() / 255, rtol=1e-12)


def test_the_checksum_follows_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checksums = []
    for place, shift in (("1", 0), ("2", 0), ("3", 1)):
        monkeypatch.setenv("CNN_CACHE_DIR", str(tmp_path / place))
        checksums.append(open_store("tiny", functools.partial(_raw, shift)).checksum)
    assert checksums[0] == checksums[1] != checksums[2]


def test_a_store_is_opened_again_without_its_source(tmp_path: Path) -> None:
    file = tmp_path / "source"
    file.write_bytes(b"1")
    first = open_store("tiny", _raw, tmp_path, [file])
    assert open_store("tiny", _never, tmp_path, [file]).checksum == first.checksum


@pytest.mark.parametrize("change", ["time", "size", "name", "folder", "data set"])
def test_changed_files_make_a_new_store(tmp_path: Path, cache: Path, change: str) -> None:
    name, folder, file = "tiny", tmp_path / "1", tmp_path / "1" / "source"
    folder.mkdir()
    file.write_bytes(b"1")
    open_store(name, _raw, folder, [file])
    stat = file.stat()
    if change == "data set":
        name = "tinier"
    if change == "folder":
        folder = folder.rename(tmp_path / "2")
        file = folder / "source"
    if change == "name":
        file = file.rename(folder / "source2")
    if change == "size":
        file.write_bytes(b"12")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + (change == "time")))
    assert _equal(open_store(name, lambda: _raw(1), folder, [file]), _raw(1))
    assert len(_stores(cache)) == 2


def _mend(store: Path, caplog: pytest.LogCaptureFixture) -> str:
    """Opens the store, which must be damaged and be prepared again, and returns the warning's reason."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert _equal(open_store("tiny", _raw), _raw())
    (record,) = caplog.records
    start = f"the prepared data set {store} is prepared again: "
    assert record.getMessage().startswith(start)
    assert _equal(open_store("tiny", _never), _raw())
    assert _stores(store.parents[1]) == [store]
    return record.getMessage().removeprefix(start)


def _write_unnoticed(path: Path, content: bytes) -> None:
    """The file's size and modification time stay."""
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _see(store: Path) -> None:
    """As if what is in the arrays now had been there when they were compared: thus a disk fails."""
    times = [change_time(store / f"{name}.npy") for name in (*ARRAYS, "train_keys")]
    SeenTimes(store, "arrays").add(np.array(times, np.int64))


@pytest.mark.parametrize("name", ARRAYS)
def test_a_damaged_array_is_noticed_and_made_again(cache: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    open_store("tiny", _raw)
    (store,) = _stores(cache)
    path = store / f"{name}.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    _write_unnoticed(path, content)
    assert _mend(store, caplog) == f"{name}.npy has another checksum than when it was written"
    for other in (content[:-1], content + b"x"):
        path.write_bytes(other)
        assert _mend(store, caplog) == f"{name}.npy has {len(other):,} bytes instead of {len(content):,}"
    path.unlink()
    assert _mend(store, caplog) == f"{name}.npy is missing"


def test_of_a_large_store_the_content_is_compared_when_asked_for_or_when_it_was_written_to(
    cache: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnn.data.store.store_files._BYTES_ALWAYS_READ", 100)
    open_store("tiny", _raw)
    (store,) = _stores(cache)
    path = store / "test_images.npy"
    path.touch()
    assert _equal(open_store("tiny", _never), _raw())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    _write_unnoticed(path, content)
    assert _mend(store, caplog) == "test_images.npy has another checksum than when it was written"
    path.write_bytes(content)
    _see(store)
    assert not _equal(open_store("tiny", _never), _raw())
    with caplog.at_level(logging.WARNING):
        assert _equal(open_store("tiny", _raw, verify=True), _raw())
    assert "test_images.npy has another checksum than when it was written" in caplog.text
    path.write_bytes(b"x" * len(content))
    _see(store)
    assert _mend(store, caplog) == "test_images.npy has another header than when it was written"


def test_a_damaged_manifest_is_noticed_and_made_again(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    open_store("tiny", _raw)
    (store,) = _stores(cache)
    path = store / "manifest.json"
    manifest = json.loads(path.read_text())
    for content in ("", "{", "[]", "{}", json.dumps({**manifest, "mean": [0.5, 0.5]}), "\udcff"):
        path.write_bytes(content.encode(errors="surrogateescape"))
        assert _mend(store, caplog) == "manifest.json is not as it was written"
    path.unlink()
    assert _mend(store, caplog) == "manifest.json is missing"


def test_what_a_process_left_that_was_killed_while_it_replaced_a_store(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_store("tiny", _raw)
    (store,) = _stores(cache)
    left = store.with_name(f"{store.name}.old.unfinished")
    left.mkdir()
    (left / "manifest.json").touch()
    (store / "manifest.json").unlink()
    assert _mend(store, caplog) == "manifest.json is missing"


@pytest.mark.parametrize("error", [UserError("damaged"), KeyboardInterrupt()])
def test_a_source_that_fails_leaves_nothing(cache: Path, error: BaseException) -> None:
    def fail() -> RawDataset:
        raise error

    with pytest.raises(type(error)) as caught:
        open_store("tiny", fail)
    assert caught.value is error
    assert _stores(cache) == []
    assert _equal(open_store("tiny", _raw), _raw())


def test_an_error_of_the_source_is_not_blamed_on_the_cache() -> None:
    def fail() -> RawDataset:
        raise PermissionError

    with pytest.raises(PermissionError):
        open_store("tiny", fail)


def test_a_cache_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CNN_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"file/stores cannot be used .*set CNN_CACHE_DIR to another folder"):
        open_store("tiny", _raw)


_PROGRAM = """
import resource, signal, sys
import numpy as np
from cnn.data.dataset import Part
from cnn.data.source import RawDataset
from cnn.data.store.store import open_store

def read():
    print("reading", flush=True)
    sys.stdin.readline()
    {while_reading}
    part = Part(images=np.zeros((100, 32, 32, 1), np.uint8), labels=np.zeros(100, np.int32))
    return RawDataset(class_names=("a",), train=part, test=part)

print("opening", flush=True)
print(open_store("{name}", read).checksum, flush=True)
"""


def _start(while_reading: str = "pass", name: str = "tiny") -> subprocess.Popen[str]:
    """A process that is about to open the store; it reads its source once it is sent a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.format(while_reading=while_reading, name=name)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "opening\n"
    return process


def test_of_two_processes_one_prepares_and_the_other_waits(cache: Path) -> None:
    first = _start()
    assert first.stdout is not None
    assert first.stdout.readline() == "reading\n"
    second = _start()
    # It waits; without the lock it would read and end, as its input is at its end.
    with pytest.raises(subprocess.TimeoutExpired):
        second.communicate("", timeout=0.5)
    checksum = first.communicate("\n", timeout=60)[0]
    assert second.communicate(timeout=60)[0] == checksum
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(_stores(cache)) == 1


def test_of_two_processes_that_prepare_different_data_sets_none_waits(cache: Path) -> None:
    first = _start()
    assert first.stdout is not None
    assert first.stdout.readline() == "reading\n"
    second = _start(name="another")
    assert len(second.communicate("\n", timeout=60)[0].splitlines()) == 2
    first.communicate("\n", timeout=60)
    assert (first.returncode, second.returncode) == (0, 0)
    assert [store.name.split("-")[0] for store in _stores(cache)] == ["another", "tiny"]


_SMALL_FILES = (
    "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); resource.setrlimit(resource.RLIMIT_CORE, (0, 0))"
)


def test_a_full_disk_leaves_nothing_and_is_explained(cache: Path) -> None:
    """Files may have 50,000 bytes only, which the images exceed."""
    process = _start(_SMALL_FILES)
    error = process.communicate("\n", timeout=60)[1]
    assert "cnn.errors.UserError: the cache folder" in error
    assert "set CNN_CACHE_DIR to another folder" in error
    assert _stores(cache) == []


def test_what_a_killed_process_leaves_is_no_store_and_is_removed(cache: Path) -> None:
    """The system kills it in the midst of writing the images."""
    process = _start(f"{_SMALL_FILES}; signal.signal(signal.SIGXFSZ, signal.SIG_DFL)")
    process.communicate("\n", timeout=60)
    assert process.returncode < 0
    (leftover,) = _stores(cache)
    assert leftover.name.endswith(".unfinished")
    assert list(leftover.iterdir())
    assert _equal(open_store("another", _raw), _raw())
    assert [store.name.split("-")[0] for store in _stores(cache)] == ["another"]


@pytest.fixture
def whole(cache: Path) -> dict[Path, bytes]:
    """The files of a store, the manifest last."""
    open_store("tiny", _raw)
    (store,) = _stores(cache)
    return {
        store / name: (store / name).read_bytes() for name in (*(f"{name}.npy" for name in ARRAYS), "manifest.json")
    }


def _open_or_damage(store: Path, file: str) -> Dataset | None:
    try:
        return open_files(store, verify=True)
    except DamagedStoreError as error:
        assert len(str(error).splitlines()) == 1
        assert file in str(error) or "its arrays are not those" in str(error)
        return None


def _signed(manifest: dict) -> bytes:
    """With the checksum that it would have been written with."""
    content = {name: value for name, value in manifest.items() if name != "checksum"}
    manifest["checksum"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps(manifest).encode()


@examples(150)
@given(st.data(), st.booleans())
def test_any_manifest_is_that_of_the_store_or_damage(
    whole: dict[Path, bytes], data: st.DataObject, signed: bool
) -> None:
    path, content = [*whole.items()][-1]
    path.write_bytes(_signed(data.draw(altered_json(json.loads(content)))) if signed else data.draw(altered(content)))
    dataset = _open_or_damage(path.parent, ".")
    if dataset is not None:
        assert _equal(dataset, _raw())
        assert all(isinstance(name, str) for name in (dataset.name, *dataset.class_names))
        assert all(isinstance(value, float) for value in (*dataset.mean, *dataset.standard_deviation))


@st.composite
def _arrays(draw: st.DrawFn) -> np.ndarray:
    return np.zeros(draw(st.sampled_from([(2,), (6,), (2, 4, 4, 2), (0, 4, 4, 2)])), draw(st.sampled_from("Bif")))


@examples(150)
@given(st.data(), st.sampled_from(ARRAYS), _arrays(), st.booleans())
def test_any_array_is_one_of_a_data_set_or_damage(
    whole: dict[Path, bytes], data: st.DataObject, name: str, array: np.ndarray, described: bool
) -> None:
    """As it is when somebody has seen to it that all checksums are right."""
    store = next(iter(whole)).parent
    np.save(file := io.BytesIO(), array)
    content = data.draw(altered(whole[store / f"{name}.npy"]) | st.just(file.getvalue()))
    manifest = json.loads(whole[store / "manifest.json"])
    manifest["arrays"][name] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    if described:
        manifest["arrays"][name] |= {"shape": list(array.shape), "dtype": str(array.dtype)}
    for path, before in whole.items():
        path.write_bytes(before)
    (store / f"{name}.npy").write_bytes(content)
    (store / "manifest.json").write_bytes(_signed(manifest))
    dataset = _open_or_damage(store, f"{name}.npy")
    if dataset is not None:
        assert (dataset.train.images.dtype, dataset.test.labels.dtype) == (np.uint8, np.int32)
