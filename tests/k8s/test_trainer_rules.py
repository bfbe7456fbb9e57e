"""The emulated Trainer itself: what it adds to a rendered TrainJob."""

import pytest

from .kubeflow_trainer import make_workload, runtime_of
from .mpi_operator import Workload
from .rendering import Manifest, find


@pytest.fixture
def workload(rendered: dict[str, list[Manifest]]) -> Workload:
    job = find(rendered["overlays/trainjob"], "TrainJob", "train")
    runtime = runtime_of(job, rendered["overlays/trainjob"])
    assert runtime is not None
    return make_workload(runtime, job)


def test_the_launcher_is_the_first_host(workload: Workload) -> None:
    assert workload.config["hostfile"] == "train-launcher-0-0.train slots=1\ntrain-node-0-0.train slots=1\n"
    assert [pod.name for pod in (workload.launcher, *workload.workers)] == ["train-launcher-0-0", "train-node-0-0"]


def test_the_launcher_trains_and_the_nodes_wait_for_it(workload: Workload) -> None:
    (node,) = workload.workers
    assert workload.launcher.container["command"] == ["bash", "launch/pod_launcher.sh", "/runs/train"]
    assert node.container["command"] == ["bash", "launch/pod_worker.sh"]
    variables = {each["name"]: each["value"] for each in workload.launcher.container["env"]}
    assert variables["OMPI_MCA_orte_default_hostfile"] == "/etc/mpi/hostfile"
    assert variables["CNN_EXPECTED_HOSTS"] == "2"


def test_pods_have_the_key_and_only_the_launcher_the_hostfile(workload: Workload) -> None:
    for pod in (workload.launcher, *workload.workers):
        mounts = {mount["mountPath"]: mount["name"] for mount in pod.container["volumeMounts"]}
        assert mounts["/home/mpiuser/.ssh"] == "mpi-ssh-auth"
        assert ("/etc/mpi" in mounts) == (pod is workload.launcher)
