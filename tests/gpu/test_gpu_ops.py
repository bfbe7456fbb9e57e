"""A training step stays on a GPU, as far as TensorFlow's tables of kernels say, which need no GPU."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import tensorflow as tf

from cnn.cluster.collectives import Cluster
from cnn.learner.precision import PRECISIONS, use_precision
from cnn.models.registry import NETWORKS

from ..noise import one_worker
from . import gpu_ops

pytestmark = [
    pytest.mark.gpu_build,
    pytest.mark.skipif(
        not tf.sysconfig.get_build_info().get("is_cuda_build"),
        reason="TensorFlow here has no kernels for GPUs: run launch/setup.sh --gpu",
    ),
]

FLOAT16_BRANCH = "All -> If [bool]"
"""With float16, the host waits to learn whether the gradients are finite before it has the weights updated."""

ROOT = Path(__file__).parents[2]
SECONDS = 600


@pytest.fixture
def worker() -> Iterator[Cluster]:
    yield one_worker()
    use_precision("float32")


def assert_all_on_gpu(worker: Cluster, kinds: Sequence[gpu_ops.StepKind]) -> None:
    found = gpu_ops.look_at(worker, kinds)
    allowed = {str(kind) for kind in kinds if "mixed_float16" in kind.settings}
    assert found.no_kernel == {}
    assert found.copied_to_host == ({FLOAT16_BRANCH: allowed} if allowed else {})


@pytest.mark.parametrize("model", NETWORKS)
def test_every_network_in_every_precision(worker: Cluster, model: str) -> None:
    assert len(PRECISIONS) == 5
    assert_all_on_gpu(worker, [kind for kind in gpu_ops.NETWORK_KINDS if kind.model == model])


@pytest.mark.parametrize("kind", gpu_ops.SETTINGS_KINDS, ids=str)
def test_every_optimizer_and_augmentation(worker: Cluster, kind: gpu_ops.StepKind) -> None:
    assert_all_on_gpu(worker, [kind])


def test_every_exchange(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    command = ["mpirun", "--oversubscribe", "-np", "2", sys.executable, "-m", "tests.gpu.gpu_ops", "--json", report]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **root}, check=True, timeout=SECONDS)
    found = json.loads(report.read_text())
    kinds = sorted(map(str, gpu_ops.EXCHANGE_KINDS))
    # The host's clock is read when this rank has computed its loss, without which no slow rank would be found.
    assert found["no_kernel"] == {"Timestamp []": kinds}
    assert found["copied_to_host"] == {}
