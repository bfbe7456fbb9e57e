"""What programs say of a GPU that they cannot use.

The GPU is a file in a /dev of their own, and no device: which sentence is right depends on the installed TensorFlow.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import tensorflow as tf

from .conftest import ENVIRONMENT, SECONDS, Jobs
from .preloaded import Preloaded

_PRIVATE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
_OTHER_DEVICES = """
set -e
mount -t tmpfs devices "$0"
for name in null zero full random urandom tty; do : >"$0/$name"; mount --bind "/dev/$name" "$0/$name"; done
for name in shm pts; do mkdir "$0/$name"; mount --rbind "/dev/$name" "$0/$name"; done
ln -s /proc/self/fd "$0/fd"
: >"$0/nvidia0"
mount --move "$0" /dev
exec "$@"
"""

REASON = (
    "TensorFlow cannot open libcuda.so.1 ("
    if tf.test.is_built_with_cuda()
    else "the environment is for CPUs only and cannot use this machine's GPUs (/dev/nvidia0): run `bash "
)


@pytest.fixture(scope="module")
def preloaded_beside_gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preloaded]:
    """Runs programs where there is a /dev/nvidia0."""
    if list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has a GPU")
    within = [*_PRIVATE, "sh", "-c", _OTHER_DEVICES, str(tmp_path_factory.mktemp("dev"))]
    if subprocess.run([*within, "true"], check=False).returncode != 0:
        pytest.skip("this machine allows no mount namespace, so there is no other /dev")
    address = tmp_path_factory.mktemp("preloaded") / "socket"
    with Preloaded(address, ENVIRONMENT, SECONDS, within=within) as preloaded:
        yield preloaded


@pytest.fixture
def jobs(cache: Path, preloaded_beside_gpu: Preloaded) -> Iterator[Jobs]:
    with Jobs(cache, preloaded_beside_gpu) as jobs:
        yield jobs


def test_the_doctor_tells_for_each_rank_why_its_gpu_is_not_used(jobs: Jobs) -> None:
    code, output = jobs.run("jobs/doctor.py", launcher="mpirun", workers=2)
    assert code == 0, output
    for rank in range(2):
        assert f"warning: rank {rank} on {os.uname().nodename} uses no GPU: {REASON}" in output
    assert "verdict: 2 workers can work together, but the warnings name what will slow them down" in output


def test_training_says_that_it_uses_no_gpu(jobs: Jobs, tmp_path: Path) -> None:
    run = ("--data", "digits", "--model", "fcnn", "--steps", 1, "--run_dir", tmp_path / "run")
    code, output = jobs.run("jobs/train.py", *run)
    assert code == 0, output
    assert f"{os.uname().nodename} has a GPU that is not used: {REASON}" in output


@pytest.mark.parametrize("program", ["jobs/doctor.py", "jobs/train.py"])
def test_a_requested_gpu_that_is_not_listed(jobs: Jobs, tmp_path: Path, program: str) -> None:
    rest = ("--run_dir", tmp_path / "run") if program == "jobs/train.py" else ()
    code, output = jobs.run(program, *rest, CNN_DEVICE="gpu")
    assert code == 2, output
    assert f"error: no GPU can be used on {os.uname().nodename}: {REASON}" in output
    assert "Traceback" not in output


def test_processors_are_used_without_a_word_if_they_were_requested(jobs: Jobs) -> None:
    code, output = jobs.run("jobs/doctor.py", CNN_DEVICE="cpu")
    assert code == 0, output
    assert "GPU" not in output
