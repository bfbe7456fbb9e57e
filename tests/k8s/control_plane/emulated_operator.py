"""What the operators would make of an MPIJob or TrainJob of the API server, made there: real pods, Jobs and Services.

The MPI operator makes pods and a Job; the Trainer makes a JobSet, and JobSet's controller a Job for each of its parts.
"""

import base64
import copy
from pathlib import Path

from tests.k8s import kubeflow_trainer, mpi_operator
from tests.k8s.mpi_operator import Pod, Workload
from tests.k8s.rendering import Manifest, make_key

from .cluster import Namespace

_OPERATOR = "training.kubeflow.org"
_JOBSET = "jobset.sigs.k8s.io"


def make_mpijob(space: Namespace, scratch: Path) -> Workload:
    """Makes what belongs to the MPIJob `train`: no host runs yet, as far as its script knows."""
    job = mpi_operator.with_defaults(space.get("mpijob", "train"))
    workload = mpi_operator.make_workload(job, space.name)
    labels = {f"{_OPERATOR}/operator-name": "mpi-operator", f"{_OPERATOR}/job-name": "train"}
    launcher = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": workload.launcher.name},
        "spec": {
            "backoffLimit": job["spec"]["runPolicy"]["backoffLimit"],
            "podReplacementPolicy": "Failed",
            "template": {"metadata": {"labels": workload.launcher.labels}, "spec": workload.launcher.spec},
        },
    }
    shared = [_secret(workload, scratch), _config(workload), _service(labels, publish=False)]
    space.make([*shared, *(worker_pod(worker) for worker in workload.workers), launcher])
    return workload


def worker_pod(worker: Pod) -> Manifest:
    """A worker of an MPIJob, which is a pod without a controller but the operator."""
    metadata = {"name": worker.name, "labels": worker.labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": worker.spec}


def tell_running(space: Namespace, workload: Workload, running: list[Pod]) -> None:
    """Changes the script that names the workers which run."""
    space.make([_config(workload, workload.discover_hosts(running, space.name))])


def make_trainjob(space: Namespace, scratch: Path) -> Workload:
    """Makes what belongs to the TrainJob `train` and its runtime `cnn`."""
    runtime = kubeflow_trainer.with_defaults(space.get("trainingruntime", "cnn"))
    workload = kubeflow_trainer.make_workload(runtime, space.get("trainjob", "train"))
    parts = {each["name"]: each for each in runtime["spec"]["template"]["spec"]["replicatedJobs"]}
    labels = {f"{_JOBSET}/jobset-name": "train"}
    pods = {"launcher": [workload.launcher], "node": workload.workers}
    jobs = [_indexed(parts[name], labels, members) for name, members in pods.items()]
    space.make([_secret(workload, scratch), _config(workload), _service(labels, publish=True), *jobs])
    return workload


def _indexed(part: Manifest, labels: dict[str, str], pods: list[Pod]) -> Manifest:
    """The Job of a part of a JobSet; Kubernetes itself gives the pods of an Indexed Job their host names."""
    template = copy.deepcopy(part["template"]["spec"])
    spec = copy.deepcopy(pods[0].spec)
    del spec["hostname"]
    spec["containers"][0]["env"] = [
        each for each in spec["containers"][0]["env"] if each["name"] != "JOB_COMPLETION_INDEX"
    ]
    metadata = {"labels": {**template["template"]["metadata"]["labels"], **labels}}
    counts = {"completionMode": "Indexed", "completions": len(pods), "parallelism": len(pods)}
    name = pods[0].name.rpartition("-")[0]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {**template, **counts, "template": {"metadata": metadata, "spec": spec}},
    }


def _service(selector: dict[str, str], *, publish: bool) -> Manifest:
    spec = {"clusterIP": "None", "selector": selector, "publishNotReadyAddresses": publish}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "train"}, "spec": spec}


def _secret(workload: Workload, scratch: Path) -> Manifest:
    path = scratch / "key"
    make_key(path)
    files = {"ssh-privatekey": path, "ssh-publickey": path.with_name("key.pub")}
    data = {name: base64.b64encode(file.read_bytes()).decode() for name, file in files.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": workload.secret_name}, "data": data}


def _config(workload: Workload, script: str = "#!/bin/sh\n") -> Manifest:
    data = {**workload.config, "discover_hosts.sh": script}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": workload.config_name}, "data": data}
