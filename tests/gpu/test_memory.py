"""What depends on a GPU's memory, seen on a GPU that is only imagined."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .imagined.make import make

pytestmark = pytest.mark.gpu_build

ROOT = Path(__file__).parents[2]
SECONDS = 240
SMALL = 4_000_000_000

RunOnGpu = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_on_gpu(tmp_path: Path) -> RunOnGpu:
    """Runs Python with such arguments on an imagined GPU of so many bytes."""
    libraries = tmp_path / "libraries"
    make(libraries)

    def run(memory: int, *arguments: object) -> subprocess.CompletedProcess[str]:
        gpu = {"LD_LIBRARY_PATH": str(libraries), "IMAGINED_GPU_MEMORY": str(memory), "CNN_DEVICE": "gpu"}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **gpu, "CNN_CACHE_DIR": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    return run


def test_more_images_stay_on_a_larger_gpu(run_on_gpu: RunOnGpu) -> None:
    program = "from cnn.data.feed.pixels import default_resident_mb; print(default_resident_mb())"
    small, large = (int(run_on_gpu(memory, "-c", program).stdout) for memory in (SMALL, 20 * SMALL))
    # TensorFlow leaves one or two gigabytes to others.
    assert 0.05 * SMALL < small * 1e6 < 0.25 * SMALL
    assert 0.2 * 20 * SMALL < large * 1e6 < 0.25 * 20 * SMALL


def test_too_large_a_batch_ends_with_the_number_to_compute_at_a_time(run_on_gpu: RunOnGpu, tmp_path: Path) -> None:
    data = ("--data", "synthetic", "--image_size", 224, "--global_batch_size", 300, "--steps", 1)
    done = run_on_gpu(SMALL, "jobs/train.py", "--model", "alexnet", *data, "--run_dir", tmp_path / "run")
    assert done.returncode == 1, done.stderr
    assert done.stderr.strip() == (
        "error: the device's memory is too small for 300 samples of a worker at a time: compute fewer at a time, which "
        "does not change the result: --micro_batch_size 150."
    )
