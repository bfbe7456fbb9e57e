"""k8s/standalone as a user applies it, on a real API server, scheduler and kubelet."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cnn.monitoring.records.metrics import read_metrics

from .cluster import Cluster, Namespace
from .progress import await_end, await_step, hosts, last_checkpoint, saved_step, summary
from .small_node import adapt

pytestmark = pytest.mark.cluster

_FOR_EVER = {"epochs": 1_000_000, "save_every": 1_000_000}


@pytest.fixture
def space(cluster: Cluster) -> Iterator[Namespace]:
    with cluster.namespace("standalone") as space:
        yield space


class Laps:
    """Prints how long each part of a test takes; pytest's -s shows it."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    def end(self, what: str) -> None:
        now = time.monotonic()
        print(f"{what}: {now - self._begin:.1f} s")
        self._begin = now


def test_job_trains_on_two_pods(space: Namespace, tmp_path: Path) -> None:
    laps = Laps()
    space.kubectl("apply", "-k", str(adapt(tmp_path, "standalone")))
    await_end(space)
    laps.end("applied, prepared, trained for 60 epochs")
    assert hosts(space) == ["train-0", "train-1"]
    assert summary(space)["test_accuracy"] > 0.9
    assert space.get("job", "train")["status"].get("failed", 0) == 0


def test_drained_and_suspended_job_loses_no_step(cluster: Cluster, space: Namespace, tmp_path: Path) -> None:
    scratch = (tmp_path / str(number) for number in itertools.count())
    space.kubectl("apply", "-k", str(adapt(next(scratch), "standalone", **_FOR_EVER)))
    await_step(space, after=0)

    laps = Laps()
    # The budget keeps the pods where they are.
    drain = ("drain", "node", "--delete-emptydir-data", "--force", "--pod-selector=app.kubernetes.io/component=worker")
    code, said = cluster.try_kubectl(*drain, "--timeout=1s")
    assert code != 0
    assert "would violate the pod's disruption budget" in said
    laps.end("a drain is refused")
    # Without, they save and end, and new ones wait for a node.
    space.kubectl("patch", "poddisruptionbudget", "train", "-p", '{"spec": {"minAvailable": 0}}')
    drained = space.pods("worker")
    cluster.kubectl(*drain, "--timeout=180s")
    saved = saved_step(space)
    assert space.await_codes(drained) == {75}
    laps.end("drained: saved and gone")
    cluster.kubectl("uncordon", "node")
    await_step(space, after=saved)
    laps.end("the node is back: trains again")

    suspended = space.pods("worker")
    space.kubectl("patch", "job", "train", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    space.kubectl("wait", "--for=delete", "pod", *suspended, "--timeout=180s")
    saved = saved_step(space)
    assert space.await_codes(suspended) == {75}
    laps.end("suspended: saved and gone")
    space.kubectl("patch", "job", "train", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    await_step(space, after=saved)
    laps.end("resumed: trains again")

    # A pod that is deleted makes the whole job save and start again.
    deleted = space.pods("worker")
    space.kubectl("delete", "pod", deleted[1], "--timeout=180s")
    assert space.await_codes(deleted) == {75}
    await_step(space, after=saved_step(space))
    laps.end("a pod is deleted: all save, end, and train again")
    assert space.get("job", "train")["status"].get("failed", 0) == 0

    # The rest of it gives the bits of a run that nothing disturbed.
    space.kubectl("delete", "job", "train", "--cascade=foreground")
    end = f"--steps={saved_step(space) + 30}"
    for arguments in ([end], [end, "--run_dir=/runs/undisturbed"]):
        space.kubectl("apply", "-k", str(adapt(next(scratch), "standalone", arguments, **_FOR_EVER)))
        await_end(space)
        space.kubectl("delete", "job", "train", "--cascade=foreground")
    records = read_metrics(space.runs / "train" / "metrics.jsonl")
    steps = [record["step"] for record in records if record["part"] == "train"]
    assert steps == sorted(set(steps))
    assert summary(space)["steps"] == summary(space, "undisturbed")["steps"] == int(end.partition("=")[2])
    ours, theirs = (last_checkpoint(space, run).arrays for run in ("train", "undisturbed"))
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)
