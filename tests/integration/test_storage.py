"""Full disks, folders that may not be written to, and damaged files: what a run says, and that nothing is lost.

With `-s` it prints a table of what was wrong, the exit code and the sentence.
"""

import contextlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cnn.runs.checkpoints import CheckpointFolder, load_checkpoint

from .conftest import ENVIRONMENT, ROOT, SECONDS, Jobs
from .preloaded import Preloaded
from .processes import until

STEPS = 60
_PRIVATE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
_ENTER = ["--mount"] if os.geteuid() == 0 else ["--user", "--mount", "--preserve-credentials"]


class SmallDisk:
    """A disk of some bytes, in a mount namespace of its own that programs are started in."""

    def __init__(self, place: Path, size: int) -> None:
        self.place = place
        place.mkdir()
        script = f'mount -t tmpfs -o size={size} tmpfs "$0" && echo made && exec cat'
        self._keeper = subprocess.Popen(
            [*_PRIVATE, "sh", "-c", script, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._keeper.stdout
        if self._keeper.stdout.readline() != "made\n":
            pytest.skip("this machine allows no mount namespace, so there is no small disk")
        self.within = ["nsenter", f"--target={self._keeper.pid}", *_ENTER, f"--wdns={ROOT}"]

    @property
    def seen(self) -> Path:
        """The disk's folder as other programs reach it."""
        return Path(f"/proc/{self._keeper.pid}/root{self.place}")

    def fill(self) -> None:
        """Leaves no byte free, and none that is freed while this lasts."""
        with contextlib.suppress(OSError), open(self.seen / "filler", "ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def forbid_writing(self) -> None:
        self._remount("ro")

    def empty(self) -> None:
        """Deletes all that is on it, also where writing was forbidden."""
        self._remount("rw")
        for each in self.seen.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()

    def _remount(self, access: str) -> None:
        subprocess.run([*self.within, "mount", "-o", f"remount,{access}", str(self.place)], check=True)

    def remove(self) -> None:
        self._keeper.communicate("")


@pytest.fixture(scope="module")
def mounted_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path_factory.mktemp("mounted") / "disk", 12_000_000)
    yield disk
    disk.remove()


@pytest.fixture
def small_disk(mounted_disk: SmallDisk) -> SmallDisk:
    """An empty disk."""
    mounted_disk.empty()
    return mounted_disk


@pytest.fixture(scope="module")
def preloaded_beside_disk(mounted_disk: SmallDisk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preloaded]:
    """Runs programs that see the disk."""
    address = tmp_path_factory.mktemp("preloaded") / "socket"
    with Preloaded(address, ENVIRONMENT, SECONDS, within=mounted_disk.within) as preloaded:
        yield preloaded


@pytest.fixture
def jobs_beside_disk(cache: Path, preloaded_beside_disk: Preloaded) -> Iterator[Jobs]:
    with Jobs(cache, preloaded_beside_disk) as jobs:
        yield jobs


def train(folder: Path, *more: object, steps: int = STEPS) -> list[object]:
    size = ("--model", "lenet5-like", "--global_batch_size", 300, "--log_every", 1)
    return ["jobs/train.py", "--data", "digits", *size, "--steps", steps, "--run_dir", folder, *more]


def said(what: str, result: tuple[int, str]) -> tuple[int, str]:
    """The exit code and the line that tells what is wrong, which is the only one, for the table."""
    code, output = result
    lines = [line for line in output.splitlines() if line.startswith(("error: ", "the checkpoint", "the prepared"))]
    assert len(lines) == 1, output
    assert "Traceback" not in output
    print(f"{what:<40} {code}  {lines[0]}")
    return code, lines[0]


def weights(folder: Path, step: int = STEPS) -> dict[str, np.ndarray]:
    return load_checkpoint(CheckpointFolder(folder / "checkpoints").path(step))[0]


@pytest.fixture(scope="module")
def undisturbed(cache: Path, preloaded: Preloaded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    code, output = Jobs(cache, preloaded).run(*train(folder))
    assert code == 0, output
    return folder


def assert_same(folder: Path, undisturbed: Path) -> None:
    found, wanted = weights(folder), weights(undisturbed)
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_a_disk_that_gets_full(jobs_beside_disk: Jobs, small_disk: SmallDisk, undisturbed: Path) -> None:
    folder = small_disk.place / "run"
    job = jobs_beside_disk.start(*train(folder, "--save_every", 1, steps=100_000))
    saved = CheckpointFolder(small_disk.seen / "run" / "checkpoints")
    until(lambda: len(saved.steps()) == 2, job)
    until(lambda: small_disk.fill() or job.poll() is not None, job)
    code, sentence = said("disk full in the middle of a run", (job.wait(), job.stdout.read()))
    assert code == 1
    assert "could not be written (No space left on device)" in sentence
    assert "continue with --resume." in sentence
    checkpoint, damage = saved.load_last()
    assert checkpoint is not None
    assert damage == []
    code, sentence = said("resumed without more room", jobs_beside_disk.run(*train(folder, "--resume")))
    assert code == 2
    # What is left of the disk, some blocks or none, decides which of the two notices first.
    assert sentence.endswith(
        (
            f"{folder} cannot be written (No space left on device); make room, or fix its permissions.",
            "but this run's checkpoints need 2 MB: make room, or choose another --run_dir.",
        )
    )
    assert saved.load_last()[0].record == checkpoint.record
    (small_disk.seen / "filler").unlink()
    end = checkpoint.record["progress"]["step"] + 20
    code, output = jobs_beside_disk.run(*train(folder, "--resume", steps=end))
    assert code == 0, output


def test_a_disk_that_is_too_small_or_may_not_be_written_to(jobs_beside_disk: Jobs, small_disk: SmallDisk) -> None:
    folder = small_disk.place / "run"
    large = train(folder, "--data", "synthetic", "--image_size", 67, "--model", "alexnet")
    code, sentence = said("disk too small for the checkpoints", jobs_beside_disk.run(*large))
    assert code == 2
    assert "MB free, but this run's checkpoints need" in sentence
    cache = {"CNN_CACHE_DIR": str(small_disk.place / "cache")}
    small_disk.fill()
    for data in ("digits", "synthetic"):
        new = train(folder.with_name("new"), "--data", data)
        code, sentence = said(f"no room to start, {data}", jobs_beside_disk.run(*new, **cache))
        assert code == 2
        assert "cannot be" in sentence
        assert "No space left on device" in sentence
    (small_disk.seen / "filler").unlink()
    code, output = jobs_beside_disk.run(*train(folder, steps=3))
    assert code == 0, output
    small_disk.forbid_writing()
    for what, command in {"new": train(folder.with_name("another")), "resumed": train(folder, "--resume")}.items():
        code, sentence = said(f"{what} run, read-only", jobs_beside_disk.run(*command))
        assert code == 2
        assert "cannot be written" in sentence


def test_damaged_checkpoints(jobs: Jobs, undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, output = jobs.run(*train(folder, steps=30))
    assert code == 0, output
    saved = CheckpointFolder(folder / "checkpoints")
    file = saved.path(saved.steps()[-1])
    file.write_bytes(file.read_bytes()[:-1000])
    code, sentence = said("newest checkpoint cut off", jobs.run(*train(folder, "--resume")))
    assert code == 0
    assert f"the checkpoint {file} is damaged" in sentence
    assert_same(folder, undisturbed)
    for file in saved.folder.iterdir():
        file.write_bytes(file.read_bytes()[:-1000])
    code, sentence = said("all checkpoints cut off", jobs.run(*train(folder, "--resume")))
    assert code == 2
    assert " is damaged (" in sentence


def test_a_checkpoint_of_something_else(jobs: Jobs, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, output = jobs.run(*train(folder, steps=10))
    assert code == 0, output
    saved = CheckpointFolder(folder / "checkpoints")
    arrays, record = load_checkpoint(saved.path(10))
    saved.save(11, arrays, {**record, "progress": {"steps": 11}}, best=False)
    code, sentence = said("checkpoint of another program", jobs.run(*train(folder, "--resume")))
    assert code == 2
    assert f"the checkpoint {saved.path(11)} was not saved by a run (" in sentence


def test_a_damaged_store_is_prepared_again(jobs: Jobs, undisturbed: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    code, output = jobs.run("jobs/prepare.py", "--data", "digits", CNN_CACHE_DIR=str(cache))
    assert code == 0, output
    (images,) = cache.glob("stores/*/train_images.npy")
    content = bytearray(images.read_bytes())
    content[-1] ^= 1
    images.write_bytes(content)
    code, sentence = said("prepared data altered", jobs.run(*train(tmp_path / "run"), CNN_CACHE_DIR=str(cache)))
    assert code == 0
    assert "train_images.npy has another checksum than when it was written" in sentence
    assert_same(tmp_path / "run", undisturbed)


def test_a_truncated_archive(jobs: Jobs, tmp_path: Path) -> None:
    folder = tmp_path / "flowers"
    folder.mkdir()
    archive = folder / "17flowers.tgz"
    (tmp_path / "image").write_bytes(np.random.default_rng(1).bytes(100_000))
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "image", "jpg/image_0001.jpg")
    archive.write_bytes(archive.read_bytes()[:50_000])
    command = ["jobs/train.py", "--data", "oxflower17", "--data_dir", folder, "--run_dir", tmp_path / "run"]
    code, sentence = said("archive cut off", jobs.run(*command))
    assert code == 2
    assert sentence.startswith(f"error: {archive} is damaged (")
    assert {path.name for path in folder.iterdir()} == {archive.name, ".lock"}
