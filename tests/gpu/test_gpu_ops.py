"""A training step stays on a GPU, as far as TensorFlow's tables of kernels say, which need no GPU."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cnn.learner.precision import PRECISIONS
from cnn.models.registry import NETWORKS

from .gpu_ops import EXCHANGE_KINDS, NETWORK_KINDS, SETTINGS_KINDS, StepKind

pytestmark = pytest.mark.gpu_build

FLOAT16_BRANCH = "All -> If [bool]"
"""With float16, the host waits to learn whether the gradients are finite before it has the weights updated."""

ROOT = Path(__file__).parents[2]
SECONDS = 900


def look_apart(report: Path, *models: str, launcher: Sequence[str] = ()) -> dict[str, dict[str, list[str]]]:
    """Runs the program in a process of its own, as TensorFlow does not free all memory of graphs."""
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    command = [*launcher, sys.executable, "-m", "tests.gpu.gpu_ops", *models, "--json", report]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **root}, check=True, timeout=SECONDS)
    return dict(json.loads(report.read_text()))


def in_float16(kinds: Sequence[StepKind]) -> list[str]:
    """Those of the steps in which the host waits."""
    return sorted({str(kind) for kind in kinds if "mixed_float16" in kind.settings})


@pytest.mark.parametrize("model", NETWORKS)
def test_every_precision_and_setting(tmp_path: Path, model: str) -> None:
    kinds = [kind for kind in (*NETWORK_KINDS, *SETTINGS_KINDS) if kind.model == model]
    assert len(kinds) >= len(PRECISIONS) == 5
    found = look_apart(tmp_path / "report.json", model)
    assert found["no_kernel"] == {}
    assert found["copied_to_host"] == {FLOAT16_BRANCH: in_float16(kinds)}


def test_every_exchange(tmp_path: Path) -> None:
    found = look_apart(tmp_path / "report.json", launcher=("mpirun", "--oversubscribe", "-np", "2"))
    # The host's clock is read when this rank has computed its loss, without which no slow rank would be found.
    assert found["no_kernel"] == {"Timestamp []": sorted(map(str, EXCHANGE_KINDS))}
    assert found["copied_to_host"] == {FLOAT16_BRANCH: in_float16(EXCHANGE_KINDS)}
