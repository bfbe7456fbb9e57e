"""The reasons why no GPU is used, from made files and libraries; whole programs: tests/integration."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cnn.cluster.devices.cuda_libraries import link_unfound, unopened
from cnn.cluster.devices.unused_gpu import (
    Driver,
    Machine,
    ask_driver,
    driver_reason,
    library_reason,
    look_at_machine,
    machine_reason,
)

KERNEL = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.82.01  Sat Aug  7 20:18:46 UTC 2021\nGCC version: gcc 12.2.0\n"
)
OPEN_KERNEL = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build  (dvs-builder@U16)\n"
TWO = Machine(files=("/dev/nvidia0", "/dev/nvidia1"), forbidden=(), version="550.54.15")
NONE = Machine(files=(), forbidden=(), version=None)
HOPPER = Driver(cuda=12040, capabilities=((9, 0),))

DRIVER = """
#include <string.h>
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
int cuInit(unsigned flags) { return ERROR; }
int cuGetErrorString(int error, const char **text) { *text = "a made error"; return 0; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int gpu) { *value = attribute == 75 ? 8 + gpu : 6; return 0; }
"""


@pytest.fixture
def made_driver(tmp_path: Path) -> Callable[[int, int], str]:
    """Compiles a driver's library of a version, whose start gives an error code, or 0."""

    def compile_driver(version: int, error: int) -> str:
        source, library = tmp_path / "driver.c", tmp_path / f"libcuda-{version}-{error}.so"
        source.write_text(DRIVER)
        macros = [f"-DVERSION={version}", f"-DERROR={error}"]
        subprocess.run(["gcc", "-w", "-shared", "-fPIC", *macros, source, "-o", library], check=True)
        return str(library)

    return compile_driver


@pytest.mark.parametrize(
    ("text", "version"), [(KERNEL, "470.82.01"), (OPEN_KERNEL, "550.54.15"), ("?", ""), (None, "")]
)
def test_a_machine_with_two_gpus(tmp_path: Path, text: str | None, version: str) -> None:
    devices, driver = tmp_path / "dev", tmp_path / "driver"
    devices.mkdir()
    driver.mkdir()
    for name in ("nvidia1", "nvidia0", "nvidiactl", "nvidia-uvm", "null"):
        (devices / name).touch()
    if text is not None:
        (driver / "version").write_text(text)
    found = look_at_machine(devices, driver)
    assert found.files == (str(devices / "nvidia0"), str(devices / "nvidia1"))
    assert found.version == version
    assert not found.forbidden


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every file")
def test_device_files_that_may_not_be_opened(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidiactl"):
        (tmp_path / name).touch(mode=0)
    assert look_at_machine(tmp_path, tmp_path / "none").forbidden == tuple(map(str, sorted(tmp_path.iterdir())))


def test_a_machine_without_gpu(tmp_path: Path) -> None:
    assert look_at_machine(tmp_path, tmp_path / "driver") == NONE
    assert machine_reason(NONE, None, cuda_build=True) == machine_reason(NONE, "", cuda_build=False) == ""


@pytest.mark.parametrize(
    ("machine", "visible", "cuda_build", "said"),
    [
        (
            TWO,
            None,
            False,
            "the environment is for CPUs only .*/dev/nvidia0, /dev/nvidia1.*`bash launch/setup.sh --gpu`",
        ),
        (TWO, "", True, "CUDA_VISIBLE_DEVICES is '', which hides .*: unset it, or list GPUs by number"),
        (TWO, "-1", True, "CUDA_VISIBLE_DEVICES is '-1', which hides"),
        (
            Machine(files=("/dev/nvidia0",), forbidden=("/dev/nvidiactl",), version="550.54.15"),
            "0",
            True,
            r"user \d+ may not open /dev/nvidiactl: allow reading and writing",
        ),
        (
            Machine(files=(), forbidden=(), version="550.54.15"),
            None,
            True,
            "the NVIDIA driver 550.54.15 is loaded, but there is no /dev/nvidia0: .*docker run --gpus all",
        ),
    ],
)
def test_reasons_that_need_no_library(machine: Machine, visible: str | None, cuda_build: bool, said: str) -> None:
    assert re.search(said, machine_reason(machine, visible, cuda_build=cuda_build))


def test_the_first_library_that_does_not_open_is_named() -> None:
    missing = unopened(["libc.so.6", "libnot-there.so.7"])
    assert missing == {"libnot-there.so.7": "cannot open shared object file: No such file or directory"}
    said = library_reason(missing, {"libcufft.so.11": "no"})
    assert said.startswith("TensorFlow cannot open libnot-there.so.7 (cannot open shared object file: No such file")
    assert "install the driver's libraries, version 525.60.13 or later" in said
    said = library_reason({}, {"libcufft.so.11": "it is damaged", "libcusparse.so.12": "no"})
    assert said == (
        "TensorFlow cannot open libcufft.so.11 (it is damaged): remove .venv and run `bash launch/setup.sh --gpu`."
    )
    assert library_reason({}, {}) == ""


def test_what_a_driver_answers(made_driver: Callable[[int, int], str]) -> None:
    assert ask_driver(made_driver(12040, 0)) == Driver(cuda=12040, capabilities=((8, 6), (9, 6)))
    assert ask_driver(made_driver(12040, 803)) == Driver(cuda=12040, error=803, meaning="a made error")


@pytest.mark.parametrize(
    ("version", "error", "said"),
    [
        (11040, 0, "the NVIDIA driver 550.54.15 is for CUDA 11.4, .* for CUDA 12.0: install driver 525.60.13 or later"),
        (12040, 803, r"550.54.15 does not start \(CUDA error 803, a made error\): make `nvidia-smi` work"),
        (12040, 100, "the driver lists none of this machine's GPUs .*: run `nvidia-smi`"),
        (12040, 0, "^$"),
    ],
)
def test_reasons_of_a_driver(made_driver: Callable[[int, int], str], version: int, error: int, said: str) -> None:
    assert re.search(said, driver_reason(TWO, ask_driver(made_driver(version, error)), None, (6, 0)))


def test_gpus_that_the_variable_does_not_name() -> None:
    said = driver_reason(TWO, Driver(cuda=12040, error=100), "2,3", (6, 0))
    assert said.startswith(
        "CUDA_VISIBLE_DEVICES is '2,3', which names none of this machine's GPUs (/dev/nvidia0, /dev/nv"
    )
    assert said.endswith("list numbers below 2, or unset it.")


def test_a_gpu_that_is_too_old() -> None:
    old = Driver(cuda=12040, capabilities=((5, 2),))
    assert driver_reason(TWO, old, None, (6, 0)).startswith(
        "the GPU's compute capability is 5.2, but TensorFlow is built"
    )
    assert driver_reason(TWO, HOPPER, None, (6, 0)) == ""


def test_a_library_outside_the_folders_that_are_searched_is_linked(tmp_path: Path) -> None:
    for folder, name in (
        ("cusolver", "libcusolver.so.11"),
        ("cufft", "libcufft.so.11"),
        ("cuda_runtime", "libcudart.so.12"),
    ):
        (tmp_path / "nvidia" / folder / "lib").mkdir(parents=True)
        (tmp_path / "nvidia" / folder / "lib" / name).write_text(name)
    (tmp_path / "tensorflow").mkdir()
    loader = tmp_path / "tensorflow" / "libtensorflow_framework.so.2"
    loader.write_bytes(b"\0$ORIGIN/../nvidia/cufft/lib:$ORIGIN/../nvidia/cuda_runtime/lib\0")
    link = tmp_path / "nvidia" / "cuda_runtime" / "lib" / "libcusolver.so.11"
    assert link_unfound(tmp_path) == ["libcusolver.so.11"]
    assert link.is_symlink()
    assert link.read_text() == "libcusolver.so.11"
    assert link_unfound(tmp_path) == []  # it has been found since
    loader.write_bytes(
        b"\0$ORIGIN/../nvidia/cufft/lib:$ORIGIN/../nvidia/cusolver/lib:$ORIGIN/../nvidia/cuda_runtime/lib\0"
    )
    link.unlink()
    assert link_unfound(tmp_path) == []
