"""Why TensorFlow can use no GPU on a machine that has one: it says nothing itself, or fails much later."""

import ctypes
import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path

from cnn.cluster.devices.cuda_libraries import CUDA_LIBRARIES, DRIVER_LIBRARIES, NEEDED_CUDA, NEEDED_DRIVER, unopened

VISIBLE = "CUDA_VISIBLE_DEVICES"
_COMMON_FILES = ("nvidiactl", "nvidia-uvm")
"""Device files that all GPUs share."""

_HIDING = ("", "-1", "NoDevFiles")
"""Values of CUDA_VISIBLE_DEVICES that hide all GPUs."""

_NO_DEVICE = 100
"""CUDA's error code if there is no GPU, or if CUDA_VISIBLE_DEVICES hides all of them."""

_CAPABILITY_ATTRIBUTES = (75, 76)
"""Of CUDA: the two parts of the compute capability."""

_REPAIR = "remove .venv and run `bash launch/setup.sh --gpu`"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Driver:
    """What the driver's library answers."""

    cuda: int
    """The CUDA version that it is made for: 12040 is 12.4."""

    error: int = 0
    """The code of the error with which it did not start."""

    meaning: str = ""
    """That error in words."""

    capabilities: tuple[tuple[int, int], ...] = ()
    """The compute capability of each GPU."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """What is known of a machine's GPUs without TensorFlow."""

    files: tuple[str, ...]
    """The GPUs' device files, such as /dev/nvidia0."""

    forbidden: tuple[str, ...]
    """The device files that this user may not open."""

    version: str | None
    """Version of the driver in the kernel; None if there is no driver, empty if it is not told."""


def look_at_machine(devices: Path = Path("/dev"), driver: Path = Path("/proc/driver/nvidia")) -> Machine:
    """Looks for GPUs and the kernel's driver in these folders."""
    files = sorted(str(path) for path in devices.glob("nvidia[0-9]*"))
    common = [str(devices / name) for name in _COMMON_FILES if (devices / name).exists()]
    version = None
    if driver.is_dir():
        try:
            text = (driver / "version").read_text(errors="replace")
        except OSError:
            text = ""
        found = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", text)
        version = found[0] if found else ""
    return Machine(
        files=tuple(files),
        forbidden=tuple(path for path in files + common if not os.access(path, os.R_OK | os.W_OK)),
        version=version,
    )


def ask_driver(library: str = DRIVER_LIBRARIES[0]) -> Driver:
    """Asks the driver's library, which can be opened, for its version and its GPUs."""
    cuda = ctypes.CDLL(library)
    number = ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(number))
    version = number.value
    error = cuda.cuInit(0)
    if error:
        meaning = ctypes.c_char_p()
        cuda.cuGetErrorString(error, ctypes.byref(meaning))
        return Driver(cuda=version, error=error, meaning=(meaning.value or b"unknown").decode(errors="replace"))
    cuda.cuDeviceGetCount(ctypes.byref(number))
    return Driver(cuda=version, capabilities=tuple(_capability(cuda, gpu) for gpu in range(number.value)))


def _capability(cuda: ctypes.CDLL, gpu: int) -> tuple[int, int]:
    parts = []
    for attribute in _CAPABILITY_ATTRIBUTES:
        number = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, gpu)
        parts.append(number.value)
    return parts[0], parts[1]


def why_unusable() -> str:
    """Why the GPUs that TensorFlow lists cannot be used; empty if they can.

    With a driver that is too old, TensorFlow lists them, and the first operation fails.
    """
    return version_reason(look_at_machine(), ask_driver())


def why_unlisted(environ: Mapping[str, str]) -> str:
    """Why TensorFlow lists no GPU although this machine has one; empty if it has none."""
    import tensorflow as tf

    machine = look_at_machine()
    reason = machine_reason(machine, environ.get(VISIBLE), cuda_build=tf.test.is_built_with_cuda())
    if reason or not machine.files:
        return reason
    return (
        library_reason(unopened(DRIVER_LIBRARIES), unopened(CUDA_LIBRARIES))
        or driver_reason(machine, ask_driver(), environ.get(VISIBLE), _lowest_capability())
        or "TensorFlow lists none of this machine's GPUs; its own messages may tell why: set TF_CPP_MIN_LOG_LEVEL=0."
    )


def _lowest_capability() -> tuple[int, int]:
    """The lowest compute capability that TensorFlow is built for, of a list such as sm_60, compute_90."""
    import tensorflow as tf

    numbers = [each.rpartition("_")[2] for each in tf.sysconfig.get_build_info()["cuda_compute_capabilities"]]
    return min((int(each[:-1]), int(each[-1])) for each in numbers)


def machine_reason(machine: Machine, visible: str | None, *, cuda_build: bool) -> str:
    """The reason that is found without opening a library; empty if there is none, or no GPU.

    Args:
        machine: the machine's GPUs and driver.
        visible: the value of CUDA_VISIBLE_DEVICES.
        cuda_build: whether the installed TensorFlow can use NVIDIA's GPUs.
    """
    if not machine.files:
        if machine.version is None:
            return ""
        return (
            f"the NVIDIA driver{_called(machine.version)} is loaded, but there is no /dev/nvidia0: give the container "
            "GPUs (docker run --gpus all; in Kubernetes a limit of nvidia.com/gpu), or, outside of a container, run "
            "`nvidia-smi` as root."
        )
    gpus = f"this machine's GPUs ({', '.join(machine.files)})"
    if not cuda_build:
        return f"the environment is for CPUs only and cannot use {gpus}: run `bash launch/setup.sh --gpu`."
    if visible is not None and visible.strip() in _HIDING:
        return f"{VISIBLE} is '{visible}', which hides {gpus}: unset it, or list GPUs by number."
    if machine.forbidden:
        return (
            f"user {os.geteuid()} may not open {', '.join(machine.forbidden)}: allow reading and writing, for example "
            "by a group of that user."
        )
    return ""


def library_reason(driver: Mapping[str, str], cuda: Mapping[str, str]) -> str:
    """The reason if a library does not open.

    Args:
        driver: the driver's libraries that do not open, and why.
        cuda: the same for CUDA's libraries.
    """
    for name, why in driver.items():
        return (
            f"TensorFlow cannot open {name} ({why}), which belongs to the NVIDIA driver: install the driver's "
            f"libraries, version {NEEDED_DRIVER} or later, or add their folder to LD_LIBRARY_PATH; a container needs "
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility."
        )
    for name, why in cuda.items():
        return f"TensorFlow cannot open {name} ({why}): {_REPAIR}."
    return ""


def version_reason(machine: Machine, driver: Driver) -> str:
    """The reason if the driver is too old for TensorFlow."""
    if driver.cuda >= NEEDED_CUDA:
        return ""
    return (
        f"the NVIDIA driver{_called(machine.version)} is for CUDA {_dotted(driver.cuda)}, but TensorFlow needs one for "
        f"CUDA {_dotted(NEEDED_CUDA)}: install driver {NEEDED_DRIVER} or later."
    )


def driver_reason(machine: Machine, driver: Driver, visible: str | None, lowest: tuple[int, int]) -> str:
    """The reason that the driver's answers give.

    Args:
        machine: the machine's GPUs and driver.
        driver: the driver's answers.
        visible: the value of CUDA_VISIBLE_DEVICES.
        lowest: the lowest compute capability that TensorFlow is built for.
    """
    if driver.error not in (0, _NO_DEVICE):
        return (
            f"the NVIDIA driver{_called(machine.version)} does not start (CUDA error {driver.error}, {driver.meaning}"
            "): make `nvidia-smi` work; after an update of the driver, restart the machine."
        )
    if reason := version_reason(machine, driver):
        return reason
    if not driver.capabilities:
        hidden = f"{VISIBLE} is '{visible}', which names none of" if visible is not None else "the driver lists none of"
        advice = f"list numbers below {len(machine.files)}, or unset it" if visible is not None else "run `nvidia-smi`"
        return f"{hidden} this machine's GPUs ({', '.join(machine.files)}): {advice}."
    if max(driver.capabilities) < lowest:
        best, needed = (".".join(map(str, each)) for each in (max(driver.capabilities), lowest))
        return (
            f"the GPU's compute capability is {best}, but TensorFlow is built for {needed} and later: use a newer GPU."
        )
    return ""


def _called(version: str | None) -> str:
    return f" {version}" if version else ""


def _dotted(cuda: int) -> str:
    """CUDA's version in the usual form."""
    return f"{cuda // 1000}.{cuda % 1000 // 10}"
