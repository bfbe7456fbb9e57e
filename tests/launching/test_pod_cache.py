"""The init container that copies prepared data to a node's own disk."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The container's variables, and its folders: `shared` with a store, and `local`."""
    (tmp_path / "shared/stores/digits").mkdir(parents=True)
    (tmp_path / "shared/stores/digits/train.npy").write_bytes(b"images")
    (tmp_path / "local").mkdir()
    (tmp_path / "data.yaml").write_text("data: digits\n")
    return {
        "PATH": "/usr/bin:/bin",
        "CNN_DATA": str(tmp_path / "data.yaml"),
        "CNN_CACHE_DIR": str(tmp_path / "local"),
        "CNN_WAIT_SECONDS": "0",
    }


def _run(script: str, *arguments: object, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "launch" / script), *map(str, arguments)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_prepared_data_are_copied_with_their_marker(tmp_path: Path, environ: dict[str, str]) -> None:
    marker = Path(_run("pod_prepare.sh", "--marker", environ=environ).stdout.strip())
    assert marker.parent == tmp_path / "local"
    (tmp_path / "shared" / marker.name).touch()
    done = _run("pod_cache.sh", tmp_path / "shared", environ={**environ, "CNN_WAIT_SECONDS": "9"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert marker.exists()
    copy, original = (tmp_path / name / "stores/digits/train.npy" for name in ("local", "shared"))
    assert copy.read_bytes() == b"images"
    assert copy.stat().st_mtime_ns == original.stat().st_mtime_ns


def test_data_that_are_not_prepared_are_named(tmp_path: Path, environ: dict[str, str]) -> None:
    done = _run("pod_cache.sh", tmp_path / "shared", environ=environ)
    assert done.returncode == 1
    assert f"the data are not prepared after 0 s ({tmp_path}/shared/prepared-" in done.stderr
    assert not list((tmp_path / "local").iterdir())


def test_a_disk_without_room_is_named(tmp_path: Path, environ: dict[str, str]) -> None:
    marker = Path(_run("pod_prepare.sh", "--marker", environ=environ).stdout.strip())
    (tmp_path / "shared" / marker.name).touch()
    full = {**environ, "CNN_CACHE_DIR": "/dev/full", "CNN_WAIT_SECONDS": "1"}
    done = _run("pod_cache.sh", tmp_path / "shared", environ=full)
    assert done.returncode == 1
    assert f"error: {tmp_path}/shared could not be copied to /dev/full: give that volume more room." in done.stderr
