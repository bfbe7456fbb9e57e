"""Whether the set-up's check of CUDA's libraries notices that one is missing, in copies of the installed packages."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from cnn.cluster.devices import cuda_libraries

pytestmark = pytest.mark.gpu_build

PACKAGES = Path(tf.__file__).parents[1]
CUDA_12 = 0x33
"""The application binary interface in the ELF header of CUDA 12's GPU code; that of CUDA 13 is 0x41."""

HOSTS = {0, 3}
"""The same of code for the processor."""

HIDDEN = ["libcufft.so.11", "libcusolver.so.11", "libcudnn_ops.so.9"]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of links to TensorFlow and NVIDIA's packages, without the set-up's own links."""
    folder = tmp_path_factory.mktemp("packages")
    subprocess.run(["cp", "-rs", PACKAGES / "tensorflow", PACKAGES / "nvidia", folder], check=True)
    for name in cuda_libraries.CUDA_LIBRARIES:
        copied = folder / "nvidia" / "cuda_runtime" / "lib" / name
        if name != "libcudart.so.12":
            copied.unlink(missing_ok=True)
    return folder


def test_horovods_gpu_code_has_the_format_of_cuda_12(packages: Path) -> None:
    """A driver for CUDA 12 does not know the one of CUDA 13."""
    (library,) = (PACKAGES / "horovod" / "tensorflow").glob("mpi_lib.*.so")
    content = library.read_bytes()
    abis = {content[found.start() + 7] for found in re.finditer(rb"\x7fELF\x02\x01\x01", content)}
    assert abis - HOSTS == {CUDA_12}


def check(packages: Path) -> tuple[int, list[str]]:
    """The exit code and the sentences of the check, as the set-up runs it."""
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    command = [sys.executable, "-P", cuda_libraries.__file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, [line for line in done.stdout.splitlines() if "NVIDIA driver" not in line]


def test_all_libraries_open(packages: Path) -> None:
    assert check(packages) == (0, [])


@pytest.mark.parametrize("name", HIDDEN)
def test_a_missing_library_is_named(packages: Path, name: str) -> None:
    copies = list(packages.glob(f"nvidia/*/lib/{name}"))
    places = {copy: os.readlink(copy) for copy in copies}
    for copy in copies:
        copy.unlink()
    code, said = check(packages)
    for copy, target in places.items():
        copy.symlink_to(target)
    assert code == cuda_libraries.INCOMPLETE
    assert [sentence.partition(" (")[0] for sentence in said] == [f"TensorFlow cannot open {name}"]
