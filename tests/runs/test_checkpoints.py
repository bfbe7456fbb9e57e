"""Checkpoints: there whole or not at all, and damage is told in one sentence."""

import io
import json
import os
import re
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.errors import RunError, UserError
from cnn.runs.checkpoints import CheckpointFolder, DamagedCheckpointError, load_checkpoint, save_checkpoint
from tests.hostile import DEEP, altered, examples, read_or_sentence

ARRAYS = {
    "model/conv1/kernel": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32),
    "model/conv1/bias": np.array([0.0, -0.0, np.nan, np.inf, 5e-324]),
    "optimizer/adam/iteration": np.array(12, np.int64),
    "empty": np.zeros((0, 3), np.float32),
}
RECORD = {"settings": {"data": "digits", "steps": None}, "progress": {"best_loss": 0.1 + 0.2}}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "step-000000001.npz"
    save_checkpoint(path, ARRAYS, RECORD)
    return path


def assert_whole(path: Path, **more: bool) -> None:
    arrays, record = load_checkpoint(path)
    assert arrays.keys() == ARRAYS.keys()
    for name, values in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (values.dtype, values.shape)
        assert arrays[name].tobytes() == values.tobytes()
    assert record == {**RECORD, "format": 1, **more}


def assert_refused(path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_saved_is_loaded_bit_for_bit(saved: Path) -> None:
    assert_whole(saved)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_what_is_not_wanted_is_checked_and_not_kept(saved: Path) -> None:
    unwanted = sorted(ARRAYS)[0]
    arrays, record = load_checkpoint(saved, without=unwanted)
    assert arrays.keys() == {name for name in ARRAYS if not name.startswith(unwanted)}
    assert record == {**RECORD, "format": 1}
    save_checkpoint(saved, {"kept": np.ones(3), "not/kept": np.ones(1000)}, {})
    content = bytearray(saved.read_bytes())
    content[content.index(np.ones(1000).tobytes())] ^= 1
    saved.write_bytes(content)
    with pytest.raises(DamagedCheckpointError):
        load_checkpoint(saved, without="not/")


def test_saving_again_replaces(saved: Path) -> None:
    save_checkpoint(saved, {"a": np.ones(3)}, {})
    assert load_checkpoint(saved)[0].keys() == {"a"}


@pytest.mark.parametrize("kept", [0, 1, 30, 100, 0.5, 0.9, 0.999])
def test_truncated(saved: Path, kept: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    assert_refused(saved)


def test_a_byte_of_any_array_flipped(saved: Path) -> None:
    content = saved.read_bytes()
    for values in ARRAYS.values():
        if values.size:
            place = content.index(values.tobytes())
            saved.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert_refused(saved)


@pytest.mark.parametrize("mask", [0x01, 0x08, 0x80, 0xFF])
def test_any_byte_flipped_alters_no_array(saved: Path, mask: int) -> None:
    """The zip format has bytes that nobody reads, dates, say, and a list of its files that may get shorter:
    `restore_state` refuses what lacks an array."""
    content = saved.read_bytes()
    refused = 0
    for place in range(len(content)):
        saved.write_bytes(content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :])
        try:
            arrays, record = load_checkpoint(saved)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
            continue
        assert record == {**RECORD, "format": 1}
        for name, values in arrays.items():
            assert values.tobytes() == ARRAYS[name].tobytes()
    assert refused > len(content) / 2


def test_other_files(tmp_path: Path, saved: Path) -> None:
    text, array, folder = tmp_path / "text.npz", tmp_path / "array.npz", tmp_path / "folder.npz"
    text.write_text("no checkpoint")
    with open(array, "wb") as file:
        np.save(file, np.zeros(3))
    folder.mkdir()
    plain_zip = tmp_path / "plain.npz"
    with zipfile.ZipFile(plain_zip, "w") as archive:
        archive.writestr("a.txt", "x")
    for path in (text, array, folder, plain_zip, tmp_path / "missing.npz"):
        assert_refused(path)


class Trap:
    """Would run code when it is unpickled."""

    def __reduce__(self) -> tuple:
        return sys.exit, (99,)


def test_pickled_objects_are_not_loaded(saved: Path) -> None:
    record = np.frombuffer(json.dumps({"format": 1}).encode(), np.uint8)
    np.savez(saved, **{"record.json": record, "trap": np.array([Trap()], object)}, allow_pickle=True)
    assert_refused(saved)


def test_pickled_objects_are_not_saved(saved: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        save_checkpoint(saved, {"a": np.array([{}], object)}, {})
    assert_whole(saved)


@pytest.mark.parametrize("record", [b"{", b"[]", b"3", b'"text"', b"null", b"\xff", b"{}", b'{"format": 2}'])
def test_other_records(saved: Path, record: bytes) -> None:
    np.savez(saved, **{"record.json": np.frombuffer(record, np.uint8)})
    assert_refused(saved)


def test_without_a_record(saved: Path) -> None:
    np.savez(saved, a=np.zeros(3))
    assert_refused(saved)


def test_another_format_is_named(saved: Path) -> None:
    np.savez(saved, **{"record.json": np.frombuffer(b'{"format": 2}', np.uint8)})
    with pytest.raises(UserError, match="has format 2; this version reads format 1"):
        load_checkpoint(saved)


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from cnn.errors import RunError
from cnn.runs.checkpoints import save_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    save_checkpoint(Path(sys.argv[1]), {"a": np.ones(100_000)}, {})
except RunError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_full_disk_leaves_the_previous_one(saved: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(saved)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(f"the checkpoint {saved} could not be written (")
    assert "continue with --resume." in done.stdout
    assert_whole(saved)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


KILLED = """
import os, sys
from pathlib import Path
import numpy as np
from cnn.runs.checkpoints import save_checkpoint

class Last:
    def __array__(self, *_, **__):
        os._exit(9)

save_checkpoint(Path(sys.argv[1]), {"a": np.ones(1000), "b": Last()}, {})
"""


def test_a_process_that_dies_while_it_saves_leaves_the_previous_one(saved: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(saved)], capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
    assert_whole(saved)
    leftover = saved.with_name(saved.name + ".unfinished")
    assert leftover.exists()
    assert CheckpointFolder(saved.parent).steps() == [1]
    save_checkpoint(saved, {"a": np.ones(3)}, {})
    assert not leftover.exists()


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="could not be written"):
        save_checkpoint(tmp_path / "gone" / "x.npz", ARRAYS, {})


def test_the_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints")
    assert folder.steps() == []
    assert folder.bytes() == CheckpointFolder(tmp_path / ("x" * 300)).bytes() == 0
    for step in (1, 9, 10, 100, 1_000_000_000, 12_345_678_901):
        folder.save(step, {"step": np.array(step)}, {}, best=step in (1, 10))
    assert folder.steps() == [1_000_000_000, 12_345_678_901]
    assert len(list(folder.folder.iterdir())) == 3
    assert load_checkpoint(folder.best)[0]["step"] == 10
    assert load_checkpoint(folder.path(folder.steps()[-1]))[0]["step"] == 12_345_678_901


@pytest.mark.parametrize("others", [(), (3,)])
def test_what_a_kill_has_interrupted_is_completed(tmp_path: Path, others: tuple[int, ...]) -> None:
    """The checkpoint was there, but not yet as the best; or another one's writing had begun."""
    folder = CheckpointFolder(tmp_path)
    for step in (*others, 7):
        folder.save(step, {"step": np.array(step)}, {}, best=True)
    folder.best.unlink()
    for step in others:
        os.link(folder.path(step), folder.best)
    (tmp_path / "step-000000008.npz.unfinished").write_bytes(b"x")
    last, _ = folder.load_last()
    assert last is not None
    for _ in range(2):
        folder.complete(last)
        assert load_checkpoint(folder.best)[0]["step"] == 7
    assert len(list(tmp_path.iterdir())) == len(others) + 2
    assert folder.bytes() == sum(folder.path(step).stat().st_size for step in (*others, 7))
    folder.save(9, {"step": np.array(9)}, {}, best=False)
    last, _ = folder.load_last()
    assert last is not None
    folder.complete(last)
    assert load_checkpoint(folder.best)[0]["step"] == 7


def test_the_best_may_be_the_last(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for step in (1, 2):
        folder.save(step, {"step": np.array(step)}, {}, best=True)
        assert load_checkpoint(folder.best)[0]["step"] == step


def test_other_files_are_not_steps(tmp_path: Path) -> None:
    others = ("step-1.npz.unfinished", "step-x.npz", "best.npz", "step-7.npz", "step-00000000\u0667.npz")
    for name in (*others, f"step-{'9' * 200}.npz", "step-0000000007.npz", "step-000000007.npz"):
        (tmp_path / name).touch()
    assert CheckpointFolder(tmp_path).steps() == [7]


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def test_the_last_that_is_whole_is_loaded_and_damage_is_named(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints")
    assert folder.load_last() == (None, [])
    for step in (3, 12):
        folder.save(step, {"a": np.full(5, step)}, {"step": step}, best=False)
    last, wrong = folder.load_last()
    assert last is not None
    assert (last.path, last.record["step"], wrong) == (folder.path(12), 12, [])
    damage(folder.path(12))
    last, wrong = folder.load_last()
    assert last is not None
    assert (last.record["step"], last.arrays["a"].tolist()) == (3, [3] * 5)
    assert len(wrong) == 1
    assert re.match(rf"the checkpoint {folder.path(12)} is damaged \(.*\); ", wrong[0])
    damage(folder.path(3))
    with pytest.raises(DamagedCheckpointError, match=str(folder.path(12))):
        folder.load_last()


def test_a_checkpoint_that_lacks_an_array_is_damaged(saved: Path) -> None:
    with zipfile.ZipFile(saved) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    members.pop("model/conv1/bias.npy")
    with zipfile.ZipFile(saved, "w") as parts:
        for name, content in members.items():
            parts.writestr(name, content)
    with pytest.raises(DamagedCheckpointError, match="an array is missing"):
        load_checkpoint(saved)


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def pack(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@examples(150)
@given(st.data(), st.booleans())
def test_any_bytes_are_arrays_or_one_sentence(saved: Path, data: st.DataObject, inside: bool) -> None:
    """Inside the zip, too, where its checksums are right."""
    save_checkpoint(saved, ARRAYS, RECORD)
    if inside:
        with zipfile.ZipFile(saved) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = data.draw(st.sampled_from(sorted(members)))
        pack(saved, {**members, name: data.draw(altered(members[name]))})
    else:
        saved.write_bytes(data.draw(altered(saved.read_bytes())))
    found = read_or_sentence(lambda: load_checkpoint(saved), str(saved), UserError)
    if found is not None:
        assert all(isinstance(array, np.ndarray) and not array.dtype.hasobject for array in found[0].values())
        assert isinstance(found[1], dict)


@pytest.mark.parametrize("count", [10**13, 10**30])
def test_an_array_that_promises_terabytes(saved: Path, count: int) -> None:
    header = repr({"descr": "<f4", "fortran_order": False, "shape": (count,)}).encode().ljust(117) + b"\n"
    record = json.dumps({"format": 1, "arrays": ["a"]}).encode()
    large = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    pack(saved, {"record.json.npy": npy(np.frombuffer(record, np.uint8)), "a.npy": large})
    assert_refused(saved)


def test_a_bomb_is_not_blown_up(saved: Path) -> None:
    pack(saved, {"a.npy": npy(np.zeros(64 << 20, np.uint8))}, zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    try:
        assert_refused(saved)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("record", [b"raw bytes", npy(np.frombuffer(DEEP, np.uint8)), npy(np.zeros(3))])
def test_records_of_other_kinds(saved: Path, record: bytes) -> None:
    pack(saved, {"record.json.npy": record})
    assert_refused(saved)
    pack(saved, {"record.json": record})
    assert_refused(saved)


def test_a_folder_that_is_a_link_and_one_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    folder = CheckpointFolder(tmp_path / "link")
    folder.save(1, ARRAYS, RECORD, best=True)
    assert_whole(tmp_path / "real" / "best.npz", best=True)
    (tmp_path / "nowhere").symlink_to("gone")
    with pytest.raises(RunError, match="nowhere/step-000000001.npz could not be written") as caught:
        CheckpointFolder(tmp_path / "nowhere").save(1, ARRAYS, RECORD, best=True)
    assert "\n" not in str(caught.value)


def promising(shape: tuple[int, ...], data: bytes = b"", kind: str = "<f4") -> bytes:
    """An array's file whose header speaks of other data than follow."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


@pytest.mark.parametrize(
    "content",
    [
        promising((10**12,)),
        promising((2**62, 4)),
        promising((-2, -2), bytes(16)),
        promising((2,), bytes(16)),
        promising((1,), bytes(8), "|O"),
        promising((0,), b"", "|O"),
        b"\x93NUMPY\x03\x00",
        b"",
    ],
)
def test_arrays_that_promise_what_is_not_there(saved: Path, content: bytes) -> None:
    pack(saved, {"a.npy": content})
    tracemalloc.start()
    try:
        assert_refused(saved)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_are_there_twice_lead_out_or_are_compressed(saved: Path) -> None:
    whole = npy(np.zeros(3))
    for names in (("a.npy", "a.npy"), ("a.npy", "../a"), ("a.npy", "/etc/passwd")):
        with zipfile.ZipFile(saved, "w") as archive:
            for name in names:
                archive.writestr(name, whole)
        assert_refused(saved)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "step-000000001.npz")
    (tmp_path / "best.npz").symlink_to("/dev/zero")
    for name in ("step-000000001.npz", "best.npz"):
        path = tmp_path / name
        assert read_or_sentence(lambda path=path: load_checkpoint(path), str(path), UserError) is None
