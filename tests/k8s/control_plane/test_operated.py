"""The overlays for operators: what these would make of them, on a real API server, scheduler and kubelet."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import Cluster, Namespace
from .emulated_operator import make_mpijob, make_trainjob, tell_running, worker_pod
from .progress import await_end, await_step, hosts, saved_step, summary
from .small_node import adapt

pytestmark = pytest.mark.cluster

_LOCAL_MPIRUN = (
    *("env", "-u", "OMPI_MCA_orte_default_hostfile", "-u", "JOB_COMPLETION_INDEX"),
    *("mpirun", "--oversubscribe", "-np", "2", "python", "jobs/train.py", "--run_dir", "/runs/train"),
)
"""All ranks on one host: as Open MPI 5 starts them, which ignores the variable that names the operator's hostfile."""

_FOR_EVER = {"epochs": 1_000_000, "save_every": 1_000_000}


@pytest.fixture
def space(cluster: Cluster) -> Iterator[Namespace]:
    with cluster.namespace("operated") as space:
        yield space


def test_mpijob_trains(space: Namespace, tmp_path: Path) -> None:
    space.kubectl("apply", "-k", str(adapt(tmp_path, "overlays/cpu", epochs=10)))
    workload = make_mpijob(space, tmp_path)
    await_end(space, workload.launcher.name)
    assert hosts(space) == [worker.name for worker in workload.workers]
    assert summary(space)["epochs"] == 10


def test_elastic_mpijob_loses_a_worker_and_takes_it_back(space: Namespace, tmp_path: Path) -> None:
    space.kubectl("apply", "-k", str(adapt(tmp_path, "overlays/elastic", **_FOR_EVER)))
    workload = make_mpijob(space, tmp_path)
    workers, names = workload.workers, [worker.name for worker in workload.workers]
    tell_running(space, workload, workers)
    await_step(space, after=0, job=workload.launcher.name)
    assert hosts(space) == names

    space.kubectl("delete", "pod", names[1], "--force", "--grace-period=0")
    tell_running(space, workload, workers[:1])
    space.wait_for("alone", lambda: hosts(space) == names[:1])
    space.make([worker_pod(workers[1])])
    tell_running(space, workload, workers)
    space.wait_for("two again", lambda: hosts(space) == names)

    launchers = space.pods("launcher")
    space.kubectl("delete", "pod", *launchers, "--timeout=180s")
    assert space.await_codes(launchers) == {75}
    await_step(space, after=saved_step(space), job=workload.launcher.name)


def test_trainjob_that_is_suspended_loses_no_step(space: Namespace, tmp_path: Path) -> None:
    space.kubectl("apply", "-k", str(adapt(tmp_path, "overlays/trainjob", **_FOR_EVER)))
    workload = make_trainjob(space, tmp_path)
    first = "train-launcher-0"
    await_step(space, after=0, job=first)
    assert hosts(space) == [workload.launcher.name, *(worker.name for worker in workload.workers)]

    pods = space.pods("worker")
    for suspend in ("true", "false"):  # as JobSet's controller does
        for job in (first, "train-node-0"):
            space.kubectl("patch", "job", job, "--type=merge", "-p", f'{{"spec": {{"suspend": {suspend}}}}}')
        if suspend == "true":
            space.kubectl("wait", "--for=delete", "pod", *pods, "--timeout=180s")
            assert space.await_codes(pods) == {75}
            saved = saved_step(space)
    await_step(space, after=saved, job=first)
    assert space.get("job", first)["status"].get("failed", 0) == 0


@pytest.mark.parametrize("folder", ["overlays/cpu", "overlays/trainjob", "standalone"])
def test_mpi_that_ignores_the_hostfile_trains_nothing(space: Namespace, tmp_path: Path, folder: str) -> None:
    space.kubectl("apply", "-k", str(adapt(tmp_path, folder, command=_LOCAL_MPIRUN)))
    role, first = "worker", "train-0-"
    if folder == "overlays/cpu":
        make_mpijob(space, tmp_path)
        role, first = "launcher", "train-launcher-"
    elif folder == "overlays/trainjob":
        make_trainjob(space, tmp_path)
        first = "train-launcher-0-0-"
    launchers = space.wait_for("a launcher", lambda: [pod for pod in space.pods(role) if pod.startswith(first)])
    assert space.await_codes(launchers[:1]) == {2}
    (status,) = space.get("pod", launchers[0])["status"]["containerStatuses"]
    sentence = r"\(CNN_EXPECTED_HOSTS=2, CNN_EXPECTED_WORKERS_PER_HOST=1\): there are 2 on "
    assert re.search(sentence, status["state"]["terminated"]["message"])
    assert not (space.runs / "train").exists()
