"""What needs a GPU: one with NCCL, one that two ranks share, how fast the large networks are, and the proof."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..integration.conftest import Jobs

pytestmark = pytest.mark.gpu

DIGITS = ("--data", "digits", "--model", "lenet5", "--epochs", 10, "--learning_rate", 0.005)

LOOK = """
import sys
from cnn.cluster.ranks.run_job import run_job

def body(cluster, settings, job):
    import horovod.tensorflow as hvd
    import tensorflow as tf

    summed = tf.function(lambda: cluster.sum_in_graph(tf.ones(1000), "look"))()
    print("built with NCCL", hvd.nccl_built() > 0)
    print("sums on", summed.device.rpartition("device:")[2], float(summed[0]))
    print("GPUs of rank", cluster.rank, len(tf.config.get_visible_devices("GPU")))

run_job(lambda: None, body)
"""


@pytest.fixture
def gpu_jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    if not list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has no GPU (there is no /dev/nvidia0)")
    with Jobs(tmp_path_factory.mktemp("cache")) as jobs:
        jobs.environment |= {"CNN_DEVICE": "gpu", "CUDA_VISIBLE_DEVICES": "0"}
        yield jobs


def test_one_gpu_with_nccl(gpu_jobs: Jobs, tmp_path: Path) -> None:
    program = tmp_path / "look.py"
    program.write_text(LOOK)
    code, output = gpu_jobs.run(program, launcher="mpirun", workers=1)
    assert code == 0, output
    assert "built with NCCL True" in output
    assert "sums on GPU:0 1.0" in output
    code, output = gpu_jobs.run("jobs/train.py", *DIGITS, "--run_dir", tmp_path / "run", launcher="mpirun", workers=1)
    assert code == 0, output


def test_two_ranks_share_one_gpu_over_mpi(gpu_jobs: Jobs, tmp_path: Path) -> None:
    program = tmp_path / "look.py"
    program.write_text(LOOK)
    code, output = gpu_jobs.run(program, launcher="mpirun", workers=2)
    assert code == 0, output
    assert output.count("sums on CPU:0 2.0") == 2
    assert output.count("GPUs of rank") == output.count(" 1\n") == 2
    code, output = gpu_jobs.run("jobs/train.py", *DIGITS, "--run_dir", tmp_path / "run", launcher="mpirun", workers=2)
    assert code == 0, output


def test_runs_of_a_sweep_take_turns_on_one_gpu(gpu_jobs: Jobs, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: lenet5\ndata: digits\nsteps: 5\nseed: [0, 1]\n")
    code, output = gpu_jobs.run("jobs/sweep.py", "--recipe", recipe, "--sweep_dir", tmp_path / "sweep")
    assert code == 0, output


@pytest.mark.parametrize("model", ["alexnet", "vgg16"])
def test_images_per_second_in_bfloat16(gpu_jobs: Jobs, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("--model", model, "--data", "synthetic", "--image_size", 224, "--precision", "mixed_bfloat16")
    code, output = gpu_jobs.run("jobs/benchmark.py", *settings, "--batch_size", 128, "--workers", 1)
    assert code == 0, output
    with capsys.disabled():
        print(f"\n{model}, 224x224, batch 128, mixed_bfloat16\n{output}")


def test_two_workers_compute_what_one_computes(gpu_jobs: Jobs) -> None:
    code, output = gpu_jobs.run("jobs/prove.py", "--models", "lenet5", "lenet5-like", "--workers", 2)
    assert code == 0, output
    assert len(re.findall(r" holds$", output, re.MULTILINE)) == 4
