"""The manifests as they are rendered, and mistakes in them that must be found."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cnn.settings.settings import TrainingSettings, parse_settings

from .manifest_rules import all_faults, pod_templates
from .rendering import FOLDERS, Manifest, copy_manifests, find, render, with_components

Change = Callable[[Any], None]


def _launcher(job: Manifest) -> Manifest:
    return job["spec"]["mpiReplicaSpecs"]["Launcher"]


def _worker(job: Manifest) -> Manifest:
    return job["spec"]["mpiReplicaSpecs"]["Worker"]


def _pod(owner: Manifest) -> Manifest:
    return owner["template"]["spec"]


def _container(owner: Manifest) -> Manifest:
    return _pod(owner)["containers"][0]


def _replicated(runtime: Manifest, index: int) -> Manifest:
    """The Job of a TrainingRuntime's launcher (0) or nodes (1)."""
    return runtime["spec"]["template"]["spec"]["replicatedJobs"][index]["template"]["spec"]


def _rename_worker(job: Manifest) -> None:
    replicas = job["spec"]["mpiReplicaSpecs"]
    replicas["worker"] = replicas.pop("Worker")


def _without(mapping: Manifest, key: str) -> None:
    del mapping[key]


OPERATED = {"standalone": set(), "overlays/trainjob": {"TrainJob"}}
"""The kinds in a folder that an operator takes care of, where it is not an MPIJob."""

# The folder, the kind and name of the manifest that is changed, the change, and what must be said of it: that alone.
MUTATIONS: dict[str, tuple[str, str, str, Change, str]] = {
    "unknown field": (
        "overlays/cpu", "MPIJob", "train", lambda job: job["spec"].update(slotPerWorker=2),
        "'slotPerWorker' was unexpected",
    ),
    "unknown field of a pod": (
        "overlays/cpu", "MPIJob", "train", lambda job: _container(_worker(job)).update(comand=["x"]),
        "'comand' was unexpected",
    ),
    "unknown field of a core kind": (
        "overlays/cpu", "Deployment", "tensorboard", lambda each: each["spec"].update(replica=2),
        "'replica' was unexpected",
    ),
    "number for a text": (
        "standalone", "Job", "train", lambda job: _container(job["spec"])["env"][0].update(value=2),
        r"2 is not of type.*string",
    ),
    "launcher creation policy": (
        "overlays/cpu", "MPIJob", "train", lambda job: job["spec"].update(launcherCreationPolicy="AtStartUp"),
        "launcherCreationPolicy is not AtStartup",
    ),
    "clean pod policy": (
        "overlays/cpu", "MPIJob", "train", lambda job: job["spec"]["runPolicy"].update(cleanPodPolicy="running"),
        "cleanPodPolicy: must be None, Running or All",
    ),
    "no clean pod policy": (
        "overlays/cpu", "MPIJob", "train", lambda job: _without(job["spec"]["runPolicy"], "cleanPodPolicy"),
        "cleanPodPolicy is None",
    ),
    "worker that restarts": (
        "overlays/cpu", "MPIJob", "train", lambda job: _worker(job).update(restartPolicy="Always"),
        r"\[Worker\].restartPolicy: must be Never or OnFailure",
    ),
    "two launchers": (
        "overlays/cpu", "MPIJob", "train", lambda job: _launcher(job).update(replicas=2),
        r"\[Launcher\].replicas: must be 1",
    ),
    "replica key": ("overlays/cpu", "MPIJob", "train", _rename_worker, "only Launcher and Worker are looked at"),
    "no number of workers": (
        "overlays/cpu", "MPIJob", "train", lambda job: _without(_worker(job), "replicas"),
        r"\[Worker\].replicas: must be 1 or more|CNN_EXPECTED_HOSTS is 2, and the job has None",
    ),
    "more workers than ordered": (
        "overlays/cpu", "MPIJob", "train", lambda job: _worker(job).update(replicas=3),
        "CNN_EXPECTED_HOSTS is 2, and the job has 3",
    ),
    "more workers on a host than ordered": (
        "overlays/cpu", "MPIJob", "train", lambda job: job["spec"].update(slotsPerWorker=2),
        "CNN_EXPECTED_WORKERS_PER_HOST is 1, and the job has 2",
    ),
    "more workers than an elastic job orders": (
        "overlays/elastic", "MPIJob", "train", lambda job: _container(_launcher(job))["command"].__setitem__(4, "4"),
        "CNN_EXPECTED_HOSTS is 1-3, and the job has 1-4",
    ),
    "no order": (
        "overlays/gpu", "MPIJob", "train", lambda job: _container(_launcher(job)).update(env=[]),
        "CNN_EXPECTED_(HOSTS|WORKERS_PER_HOST) is None",
    ),
    "name that is no label": (
        "overlays/cpu", "MPIJob", "train", lambda job: job["metadata"].update(name="8-flowers"),
        "8-flowers-worker-1 is no DNS label",
    ),
    "key elsewhere": (
        "overlays/cpu", "MPIJob", "train", lambda job: _without(job["spec"], "sshAuthMountPath"),
        "sshAuthMountPath is not /home/mpiuser/.ssh",
    ),
    "implementation": (
        "overlays/cpu", "MPIJob", "train", lambda job: job["spec"].update(mpiImplementation="OpenMPI5"),
        "'OpenMPI5' is not one of",
    ),
    "GPU of the launcher": (
        "overlays/gpu", "MPIJob", "train",
        lambda job: [kind.update({"nvidia.com/gpu": 1}) for kind in _container(_launcher(job))["resources"].values()],
        "the launcher asks for a GPU",
    ),
    "more GPUs than ranks": (
        "overlays/gpu", "MPIJob", "train",
        lambda job: [kind.update({"nvidia.com/gpu": 2}) for kind in _container(_worker(job))["resources"].values()],
        "2 GPUs and 1 ranks",
    ),
    "small shared memory": (
        "overlays/gpu", "MPIJob", "train", lambda job: _container(_worker(job))["volumeMounts"].pop(3),
        "/dev/shm is no memory",
    ),
    "root": (
        "overlays/cpu", "MPIJob", "train", lambda job: _pod(_worker(job))["securityContext"].update(runAsUser=0),
        "runAsUser is not 1000",
    ),
    "capabilities": (
        "overlays/cpu", "Deployment", "tensorboard",
        lambda each: _container(each["spec"])["securityContext"].pop("capabilities"),
        "not all capabilities are dropped",
    ),
    "privilege escalation": (
        "overlays/cpu", "Job", "prepare",
        lambda job: _container(job["spec"])["securityContext"].pop("allowPrivilegeEscalation"),
        "allowPrivilegeEscalation is not false",
    ),
    "seccomp": (
        "overlays/cpu", "MPIJob", "train", lambda job: _pod(_launcher(job))["securityContext"].pop("seccompProfile"),
        "seccompProfile is not",
    ),
    "service account": (
        "overlays/cpu", "Job", "prepare", lambda job: _pod(job["spec"]).pop("automountServiceAccountToken"),
        "automountServiceAccountToken is not false",
    ),
    "requests below limits": (
        "overlays/cpu", "MPIJob", "train",
        lambda job: _container(_worker(job))["resources"]["requests"].update(cpu="1"),
        "requests and limits are not equal",
    ),
    "image that changes": (
        "overlays/cpu", "MPIJob", "train", lambda job: _container(_worker(job)).update(image="cnn:latest"),
        "cnn:latest is not pinned",
    ),
    "short grace": (
        "overlays/elastic", "MPIJob", "train", lambda job: _pod(_worker(job)).pop("terminationGracePeriodSeconds"),
        "too short for a checkpoint",
    ),
    "no readiness": (
        "overlays/cpu", "MPIJob", "train", lambda job: _container(_worker(job)).pop("readinessProbe"),
        "no readinessProbe",
    ),
    "no probe": (
        "overlays/trainjob", "TrainingRuntime", "cnn",
        lambda runtime: _container(_replicated(runtime, 0)).pop("livenessProbe"), "nothing notices a rank",
    ),
    "ConfigMap without its hash": (
        "overlays/cpu", "MPIJob", "train",
        lambda job: _pod(_worker(job))["volumes"][0]["configMap"].update(name="cnn-settings"),
        "there is no ConfigMap cnn-settings",
    ),
    "claim that is not there": (
        "overlays/cpu", "PersistentVolumeClaim", "cnn-runs", lambda each: each["metadata"].update(name="runs"),
        "there is no PersistentVolumeClaim cnn-runs",
    ),
    "volume that is not there": (
        "overlays/cpu", "Job", "prepare", lambda job: _pod(job["spec"])["volumes"].pop(2), "there is no volume tmp",
    ),
    "read-only claim": (
        "overlays/cpu", "Deployment", "tensorboard",
        lambda each: _pod(each["spec"])["volumes"][0]["persistentVolumeClaim"].update(readOnly=True),
        "the claim of runs is read-only",
    ),
    "subPath": (
        "overlays/elastic", "MPIJob", "train",
        lambda job: _container(_launcher(job))["volumeMounts"][0].update(subPath="data.yaml"), "has a subPath",
    ),
    "budget in percent": (
        "overlays/cpu", "PodDisruptionBudget", "train", lambda each: each["spec"].update(minAvailable="50%"),
        "minAvailable is no whole number",
    ),
    "budget for more workers": (
        "overlays/cpu", "PodDisruptionBudget", "train", lambda each: each["spec"].update(minAvailable=3),
        "minAvailable 3 is more than the 2 workers",
    ),
    "policy for nobody": (
        "overlays/cpu", "NetworkPolicy", "prepare",
        lambda each: each["spec"]["podSelector"]["matchLabels"].update({"app.kubernetes.io/component": "preparing"}),
        "NetworkPolicy prepare selects no pod",
    ),
    "numbers of workers differ": (
        "standalone", "Job", "train", lambda job: job["spec"].update(completions=3),
        "completions and parallelism differ|CNN_EXPECTED_HOSTS is 2, and the job has 3",
    ),
    "job that never ends": (
        "standalone", "Job", "train", lambda job: job["spec"].pop("successPolicy"), "it would never end",
    ),
    "exit codes of another container": (
        "standalone", "Job", "train",
        lambda job: job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"].update(containerName="train"),
        "names the container train, which is not there",
    ),
    "exit codes of a container that restarts": (
        "standalone", "Job", "train", lambda job: _pod(job["spec"]).update(restartPolicy="OnFailure"),
        "podFailurePolicy needs restartPolicy Never",
    ),
    "no key": (
        "standalone", "Job", "key", lambda job: _container(job["spec"])["command"].__setitem__(3, "ssh"),
        "there is no Secret train-ssh",
    ),
    "account that is not there": (
        "standalone", "ServiceAccount", "key", lambda each: each["metadata"].update(name="keys"),
        "there is no ServiceAccount key",
    ),
    "unknown field of a TrainJob": (
        "overlays/trainjob", "TrainJob", "train", lambda job: job["spec"]["trainer"].update(numNode=2),
        "'numNode' was unexpected",
    ),
    "unknown field of a runtime": (
        "overlays/trainjob", "TrainingRuntime", "cnn",
        lambda runtime: runtime["spec"]["mlPolicy"]["mpi"].update(runLauncherAsWorker=True),
        "'runLauncherAsWorker' was unexpected",
    ),
    "unknown field of a runtime's pod": (
        "overlays/trainjob", "TrainingRuntime", "cnn",
        lambda runtime: _container(_replicated(runtime, 1)).update(comand=["x"]), "'comand' was unexpected",
    ),
    "runtime for the whole cluster": (
        "overlays/trainjob", "TrainJob", "train", lambda job: _without(job["spec"]["runtimeRef"], "kind"),
        "there is no runtime .* before the TrainJob",
    ),
    "runtime of another name": (
        "overlays/trainjob", "TrainingRuntime", "cnn", lambda runtime: runtime["metadata"].update(name="mpi"),
        "there is no runtime .* before the TrainJob",
    ),
    "TrainJob of one node": (
        "overlays/trainjob", "TrainJob", "train", lambda job: job["spec"]["trainer"].update(numNodes=1),
        "numNodes is less than 2|CNN_EXPECTED_HOSTS is 2, and the job has 1|minAvailable 2 is more than the 1 workers",
    ),
    "TrainJob of more nodes than ordered": (
        "overlays/trainjob", "TrainJob", "train", lambda job: job["spec"]["trainer"].update(numNodes=3),
        "CNN_EXPECTED_HOSTS is 2, and the job has 3",
    ),
    "two launchers of a TrainJob": (
        "overlays/trainjob", "TrainingRuntime", "cnn", lambda runtime: runtime["spec"]["mlPolicy"].update(numNodes=2),
        "number of launchers: it must be 1",
    ),
    "launcher without a rank": (
        "overlays/trainjob", "TrainingRuntime", "cnn",
        lambda runtime: runtime["spec"]["mlPolicy"]["mpi"].update(runLauncherAsNode=False),
        "runLauncherAsNode is not true",
    ),
    "key of a TrainJob elsewhere": (
        "overlays/trainjob", "TrainingRuntime", "cnn",
        lambda runtime: _without(runtime["spec"]["mlPolicy"]["mpi"], "sshAuthMountPath"),
        "sshAuthMountPath is not /home/mpiuser/.ssh",
    ),
    "container that the Trainer does not find": (
        "overlays/trainjob", "TrainingRuntime", "cnn",
        lambda runtime: _container(_replicated(runtime, 0)).update(name="trainer"),
        "must contain the required container|names the container node, which is not there",
    ),
    "reserved variable": (
        "overlays/trainjob", "TrainJob", "train",
        lambda job: job["spec"]["trainer"]["env"].append({"name": "OMPI_MCA_plm_rsh_args", "value": "-v"}),
        "must not have reserved envs: OMPI_MCA_plm_rsh_args",
    ),
    "nodes before the launcher": (
        "overlays/trainjob", "TrainingRuntime", "cnn",
        lambda runtime: runtime["spec"]["template"]["spec"]["replicatedJobs"].reverse(),
        "the launcher is not the first job",
    ),
    "TrainJob that never ends": (
        "overlays/trainjob", "TrainingRuntime", "cnn",
        lambda runtime: _without(runtime["spec"]["template"]["spec"], "successPolicy"),
        "does not end with its launcher",
    ),
    "nodes that repeat mistakes": (
        "overlays/trainjob", "TrainingRuntime", "cnn",
        lambda runtime: _without(_replicated(runtime, 1), "podFailurePolicy"),
        "job node: without podFailurePolicy a mistake is repeated",
    ),
    "other subdomain": (
        "standalone", "Job", "train", lambda job: _pod(job["spec"]).update(subdomain="cnn"),
        "SERVICE is not the subdomain",
    ),
}  # fmt: skip


@pytest.mark.parametrize("folder", FOLDERS)
def test_rendered_manifests_have_no_fault(rendered: dict[str, list[Manifest]], folder: str) -> None:
    manifests = rendered[folder]
    assert all_faults(manifests) == []
    kinds = {manifest["kind"] for manifest in manifests}
    expected = {
        "ConfigMap",
        "PersistentVolumeClaim",
        "Job",
        "Deployment",
        "Service",
        "PodDisruptionBudget",
        "NetworkPolicy",
    }
    assert expected <= kinds
    assert kinds & {"MPIJob", "TrainJob"} == OPERATED.get(folder, {"MPIJob"})


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_mistake_is_rejected_for_its_own_reason(rendered: dict[str, list[Manifest]], mutation: str) -> None:
    folder, kind, name, change, reason = MUTATIONS[mutation]
    manifests = copy.deepcopy(rendered[folder])
    change(find(manifests, kind, name))
    found = all_faults(manifests)
    assert found
    for fault in found:
        assert re.search(reason, fault), found


def test_gpus_are_on_workers_and_their_image_alone(rendered: dict[str, list[Manifest]]) -> None:
    asking = [
        name
        for name, _, spec in pod_templates(rendered["overlays/gpu"])
        if any("nvidia.com/gpu" in container["resources"]["limits"] for container in spec["containers"])
    ]
    assert asking == ["MPIJob train Worker"]
    images = {spec["containers"][0]["image"] for _, _, spec in pod_templates(rendered["overlays/gpu"])}
    assert images == {"cnn:0.1.0-gpu"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_name_of_a_registry_is_one_line_of_the_folder_that_is_applied(
    rendered: dict[str, list[Manifest]], tmp_path: Path, folder: str
) -> None:
    kustomization = copy_manifests(tmp_path) / folder / "kustomization.yaml"
    kustomization.write_text(kustomization.read_text().replace("newName: cnn", "newName: registry.example/cnn"))
    names = {spec["containers"][0]["image"] for _, _, spec in pod_templates(render(kustomization.parent))}
    before = {spec["containers"][0]["image"] for _, _, spec in pod_templates(rendered[folder])}
    assert names == {f"registry.example/{name}" for name in before}


@pytest.mark.parametrize("folder", FOLDERS)
def test_prometheus_finds_the_numbers_where_they_are_served(
    rendered: dict[str, list[Manifest]], tmp_path: Path, folder: str
) -> None:
    manifests = with_components(copy_manifests(tmp_path) / folder / "kustomization.yaml", ["prometheus"])
    assert all_faults(manifests) == []
    launcher, worker, own = _parts(manifests, folder)
    settings = parse_settings("", TrainingSettings, launcher["args"][4:])
    assert (settings.metrics.metrics_port, settings.metrics.metrics_address) == (9400, "0.0.0.0")
    assert {"name": "metrics", "containerPort": 9400} in _container(worker)["ports"]
    assert worker["template"]["metadata"]["annotations"]["prometheus.io/port"] == "9400"
    changed = {(each["kind"], each["metadata"]["name"]) for each in manifests if each not in rendered[folder]}
    assert changed == {*own, ("PodMonitor", "train"), ("NetworkPolicy", "metrics")}


def _parts(manifests: list[Manifest], folder: str) -> tuple[Manifest, Manifest, set[tuple[str, str]]]:
    """What has the launcher's arguments, the owner of the pod of rank 0, and the names of the manifests with both."""
    if folder == "standalone":
        spec = find(manifests, "Job", "train")["spec"]
        return _container(spec), spec, {("Job", "train")}
    if folder == "overlays/trainjob":
        runtime, trainer = find(manifests, "TrainingRuntime", "cnn"), find(manifests, "TrainJob", "train")
        own = {("TrainingRuntime", "cnn"), ("TrainJob", "train")}
        return trainer["spec"]["trainer"], _replicated(runtime, 0), own
    job = find(manifests, "MPIJob", "train")
    return _container(_launcher(job)), _worker(job), {("MPIJob", "train")}


@pytest.mark.parametrize("kind", ["PodMonitor", "NetworkPolicy"])
def test_a_port_that_no_container_has_is_found(rendered: dict[str, list[Manifest]], tmp_path: Path, kind: str) -> None:
    manifests = with_components(copy_manifests(tmp_path) / "overlays/cpu" / "kustomization.yaml", ["prometheus"])
    spec = find(manifests, kind, "train" if kind == "PodMonitor" else "metrics")["spec"]
    if kind == "PodMonitor":
        spec["podMetricsEndpoints"][0]["port"] = "metric"
    else:
        spec["ingress"][0]["ports"][0]["port"] = "metric"
    (fault,) = all_faults(manifests)
    assert "no container has a port metric" in fault


def test_a_misspelt_field_of_a_pod_monitor_is_found(rendered: dict[str, list[Manifest]], tmp_path: Path) -> None:
    manifests = with_components(copy_manifests(tmp_path) / "overlays/cpu" / "kustomization.yaml", ["prometheus"])
    find(manifests, "PodMonitor", "train")["spec"]["podMetricsEndpoints"][0]["intervall"] = "15s"
    (fault,) = all_faults(manifests)
    assert "'intervall' was unexpected" in fault


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_data_needs_no_folder_that_a_new_claim_has_not(rendered: dict[str, list[Manifest]], folder: str) -> None:
    assert "data_dir" not in yaml.safe_load(find(rendered[folder], "ConfigMap", "cnn-settings")["data"]["data.yaml"])
