"""What is checked on a GPU machine, the most valuable first."""

import dataclasses
import os
import shutil
import sys
from pathlib import Path

PYTHON = sys.executable
BIN = Path(PYTHON).parent
KIT = Path(".gpu-kit")
GPU = {"CNN_DEVICE": "gpu", "CUDA_VISIBLE_DEVICES": "0"}
AUGMENTED = ("--crop", "pad", "--flip", "--colour_jitter", 0.3, "--resident_mb", 1)
DIGITS = ("--data", "digits", "--model", "lenet5-like")

_FIRST_TESTS = "nccl or share_one or compute"
TESTED = ("PASSED|FAILED|ERROR|SKIPPED", "^E  ", "passed|failed|skipped", "img/s|images")
MEASURED = ("img/s", "Error", "not tried")

CASES = """
    alexnet:mixed_bfloat16:256:images=2500 alexnet:mixed_bfloat16:512
    vgg16:mixed_bfloat16:128 resnet50:mixed_bfloat16:128 vgg16:tensorfloat32:128 alexnet:tensorfloat32:256
    resnet50:tensorfloat32:128 alexnet:float32:256 vgg16:float32:64 resnet50:float32:64
    alexnet:mixed_float16:256 vgg16:mixed_float16:128 resnet50:mixed_float16:128
    lenet5-like:float32:128:side=32 resnet18-32:mixed_bfloat16:128:side=32
"""
XLA_CASES = """
    alexnet:mixed_bfloat16:256:xla vgg16:mixed_bfloat16:128:xla resnet50:mixed_bfloat16:128:xla
    alexnet:tensorfloat32:256:xla resnet50:tensorfloat32:128:xla
"""
PROFILED_CASES = """
    alexnet:mixed_bfloat16:256:images=2500 resnet50:mixed_bfloat16:128 vgg16:mixed_bfloat16:128
    lenet5-like:float32:128:side=32
"""
PEER_CASES = """
    torch:alexnet:mixed_bfloat16:256:eager torch:vgg16:mixed_bfloat16:128:eager torch:resnet50:mixed_bfloat16:128:eager
    torch:alexnet:tensorfloat32:256:eager torch:vgg16:tensorfloat32:128:eager torch:resnet50:tensorfloat32:128:eager
    torch:alexnet:mixed_bfloat16:256:compile torch:resnet50:mixed_bfloat16:128:compile
    torch:vgg16:mixed_bfloat16:128:compile jax:alexnet:mixed_bfloat16:256 jax:vgg16:mixed_bfloat16:128
"""

MACHINE = """
nvidia-smi; nvidia-smi -q -d CLOCK,POWER | grep -iE 'graphics|sm|memory|limit' | head -12; nproc; free -g | head -2
ldd --version | head -1; ldconfig -p | grep -E 'libcuda.so.1|libnvidia-ml.so.1'; df -h /opt | tail -1
"""
SEES = """
import tensorflow as tf
gpus = tf.config.list_physical_devices("GPU")
print("GPUs", gpus, tf.config.experimental.get_device_details(gpus[0]) if gpus else "")
values = tf.random.normal((1024, 1024))
print("product on", tf.matmul(values, values).device if gpus else "no GPU")
raise SystemExit(0 if gpus else 4)
"""


@dataclasses.dataclass(frozen=True)
class Check:
    """Commands, of which the first that fails ends the check."""

    name: str
    what: str
    seconds: int
    commands: tuple[tuple[object, ...], ...]
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    keep: tuple[str, ...] = ()
    """Patterns of the lines that the summary shows; it shows the last lines when none is given."""

    needs_gpu: bool = True


def all_checks(out: Path, work: Path) -> list[Check]:
    """The checks in their order.

    Args:
        out: folder for results.
        work: folder for runs and data.
    """
    return [
        _machine(),
        _sees(),
        _sanity(out),
        _small(work / "small"),
        _tests("tests", "one rank with NCCL, two that share the GPU, the proof", _FIRST_TESTS),
        _benchmark("benchmark-alexnet", "alexnet", 256, work),
        _speed("speed", "the step without XLA; images of two batches and of an epoch", 110, 95, CASES, out),
        _peers(out),
        _speed("speed-xla", "the step with XLA", 120, 70, XLA_CASES, out),
        _profile(out),
        _replay(work / "small"),
        _deterministic_replay(work / "deterministic"),
        _benchmark("benchmark-vgg16", "vgg16", 128, work),
        _benchmark("benchmark-resnet50", "resnet50", 128, work),
        _tests("tests-rest", "the rest", f"not ({_FIRST_TESTS} or programs or copies)"),
        _benchmark("input", "alexnet", 256, work, *AUGMENTED),
        _cifar(work),
    ]


def _machine() -> Check:
    keep = ("NVIDIA-SMI", "H100|H200|A100", "GLIBC|GNU libc", "libcuda", "libnvidia-ml")
    command = ("bash", "-c", MACHINE)
    return Check("machine", "the machine and its driver", 15, (command,), keep=keep, needs_gpu=False)


def _sees() -> Check:
    keep = ("GPUs", "product on", "dlopen|Could not load")
    return Check("sees", "TensorFlow finds the GPU", 60, ((PYTHON, "-c", SEES),), {"TF_CPP_MIN_LOG_LEVEL": "0"}, keep)


def _sanity(out: Path) -> Check:
    keep = ("WRONG", "Error", "other bits", "do not agree", "TFLOP")
    what = "operations against float64 on the processor; TFLOP/s"
    return Check("sanity", what, 100, (_program("sanity", out / "sanity.json"),), keep=keep)


def _small(run: Path) -> Check:
    training = _job("train", *DIGITS, "--epochs", 20, "--run_dir", run)
    return Check("small", "first training: LeNet-5-like on digits, one worker", 60, (training,), GPU)


def _tests(name: str, what: str, chosen: str) -> Check:
    command = (PYTHON, "-m", "pytest", "tests/gpu", "-v", "-p", "no:cacheprovider", "--durations", 10, "-k", chosen)
    return Check(name, f"tests/gpu: {what}", 200, (command,), keep=TESTED)


def _speed(name: str, what: str, seconds: int, begin_within: int, cases: str, out: Path) -> Check:
    command = _program("speed", out / f"{name}.json", "--seconds", begin_within, *cases.split())
    return Check(name, what, seconds, (command,), keep=MEASURED)


def _profile(out: Path) -> Check:
    command = _program("profile_step", out / "profile.json", *PROFILED_CASES.split())
    return Check("profile", "where the step's time goes", 90, (command,), keep=(r"\d ms",))


def _replay(run: Path) -> Check:
    replay = _job("prove", "--replay", run)
    return Check("replay", "the same training again: the same bits?", 60, (replay,), GPU)


def _program(name: str, result: Path, *arguments: object) -> tuple[object, ...]:
    return PYTHON, "-m", f"tests.gpu.{name}", "--json", result, *arguments


def _job(name: str, *arguments: object) -> tuple[object, ...]:
    return PYTHON, f"jobs/{name}.py", *arguments


def _benchmark(name: str, model: str, batch: int, work: Path, *more: object) -> Check:
    size = ("--data", "synthetic", "--image_size", 224, "--batch_size", batch, "--benchmark_steps", 20)
    step = ("--model", model, "--precision", "mixed_bfloat16", "--optimizer", "momentum", "--workers", 1)
    what = f"jobs/benchmark.py, {model}{' with augmentation, streamed images' * bool(more)}"
    return Check(name, what, 90, (_job("benchmark", *step, *size, *more, "--report", work / name),), GPU)


def _peers(out: Path) -> Check:
    """By the machine's own Python, which may have these libraries."""
    path = os.pathsep.join(each for each in os.environ["PATH"].split(os.pathsep) if Path(each) != BIN)
    python = shutil.which("python3", path=path) or "python3"
    command = (python, KIT / "tools" / "peers.py", "--json", out / "peers.json", "--seconds", 95, *PEER_CASES.split())
    return Check("peers", "the same networks in PyTorch and JAX", 120, (command,), keep=MEASURED)


def _deterministic_replay(run: Path) -> Check:
    training = _job("train", *DIGITS, "--deterministic", "--epochs", 10, "--run_dir", run)
    commands = (training, _job("prove", "--replay", run))
    return Check("replay-deterministic", "and with --deterministic", 90, commands, GPU)


def _cifar(work: Path) -> Check:
    folder = work / "cifar"
    data = ("--data_dir", folder / "train")
    commands = (
        ("mkdir", "-p", folder),
        ("tar", "-xzf", KIT / "data" / "train-images.tar.gz", "-C", folder),
        _job("prepare", "--data", "folder", *data, "--image_size", 32),
        _job(
            "train", "--config", "jobs/recipes/cifar10-vgg16-bn.yaml", *data, "--epochs", 12, "--run_dir", work / "run"
        ),
    )
    return Check("cifar", "VGG16-BN on CIFAR-10 to a result", 240, commands, GPU)
