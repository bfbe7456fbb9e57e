"""What the MPI operator v0.8.2 makes of an MPIJob: defaults, validation, and the pods with all that it adds to them.

Follows pkg/apis/kubeflow/v2beta1/default.go, pkg/apis/kubeflow/validation/validation.go and
pkg/controller/mpi_job_controller.go of kubeflow/mpi-operator.
"""

import copy
import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from tests.k8s.rendering import Manifest

_LABELS = "training.kubeflow.org"
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclasses.dataclass(kw_only=True)
class Pod:
    """A pod that is to be started."""

    name: str
    spec: Manifest
    """As in a manifest, with hostname and subdomain."""

    labels: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def container(self) -> Manifest:
        """Its one container."""
        (container,) = self.spec["containers"]
        return dict(container)


@dataclasses.dataclass(kw_only=True)
class Workload:
    """What an MPIJob or a TrainJob becomes."""

    launcher: Pod
    workers: list[Pod]
    config: dict[str, str]
    """The ConfigMap, but for discover_hosts.sh, which follows the running workers."""

    config_name: str
    secret_name: str
    """Name of the Secret that holds the ssh key."""

    def discover_hosts(self, running: Sequence[Pod], namespace: str) -> str:
        """The script that names the workers which run."""
        names = sorted(f"{pod.name}.{pod.spec['subdomain']}.{namespace}.svc" for pod in running)
        return "#!/bin/sh\n" + "".join(f"echo {name}\n" for name in names)


def with_defaults(job: Manifest) -> Manifest:
    """The MPIJob with what the operator fills in."""
    job = copy.deepcopy(job)
    spec = job["spec"]
    spec.setdefault("runPolicy", {}).setdefault("cleanPodPolicy", "None")
    spec.setdefault("slotsPerWorker", 1)
    spec.setdefault("sshAuthMountPath", "/root/.ssh")
    spec.setdefault("mpiImplementation", "OpenMPI")
    spec.setdefault("launcherCreationPolicy", "AtStartup")
    replicas = spec.get("mpiReplicaSpecs", {})
    for role, policy, count in (("Launcher", "OnFailure", 1), ("Worker", "Never", 0)):
        if role in replicas:
            replicas[role].setdefault("restartPolicy", policy)
            replicas[role].setdefault("replicas", count)
    return job


def faults(job: Manifest) -> list[str]:
    """Why the operator would refuse an MPIJob with defaults."""
    spec, found = job["spec"], []
    replicas = spec.get("mpiReplicaSpecs", {})
    worker, launcher = replicas.get("Worker"), replicas.get("Launcher")
    name = f"{job['metadata']['name']}-worker-{max(1, (worker or {}).get('replicas', 1)) - 1}"
    if not _DNS_1035.fullmatch(name):
        found.append(f"metadata.name: {name} is no DNS label")
    if launcher is None:
        found.append("mpiReplicaSpecs[Launcher]: is required")
    elif launcher["replicas"] != 1:
        found.append("mpiReplicaSpecs[Launcher].replicas: must be 1")
    if worker is not None and worker["replicas"] <= 0:
        found.append("mpiReplicaSpecs[Worker].replicas: must be 1 or more")
    for role in ("Launcher", "Worker"):
        if role in replicas:
            if replicas[role]["restartPolicy"] not in ("Never", "OnFailure"):
                found.append(f"mpiReplicaSpecs[{role}].restartPolicy: must be Never or OnFailure")
            if not replicas[role]["template"]["spec"].get("containers"):
                found.append(f"mpiReplicaSpecs[{role}].template.spec.containers: must have one")
    if spec["slotsPerWorker"] < 0:
        found.append("slotsPerWorker: must not be negative")
    if spec["runPolicy"]["cleanPodPolicy"] not in ("None", "Running", "All"):
        found.append("runPolicy.cleanPodPolicy: must be None, Running or All")
    for limit in ("ttlSecondsAfterFinished", "activeDeadlineSeconds", "backoffLimit"):
        if spec["runPolicy"].get(limit, 0) < 0:
            found.append(f"runPolicy.{limit}: must not be negative")
    if spec["mpiImplementation"] not in ("OpenMPI", "Intel", "MPICH"):
        found.append("mpiImplementation: must be OpenMPI, Intel or MPICH")
    return found


def make_workload(job: Manifest, namespace: str) -> Workload:
    """The pods of a valid MPIJob for Open MPI, whose launcher is no worker, and its ConfigMap."""
    job = with_defaults(job)
    assert not faults(job), faults(job)
    spec, name = job["spec"], job["metadata"]["name"]
    slots = spec["slotsPerWorker"]
    workers = [f"{name}-worker-{index}" for index in range(spec["mpiReplicaSpecs"]["Worker"]["replicas"])]
    hostfile = "".join(f"{worker}.{name}.{namespace}.svc slots={slots}\n" for worker in workers)
    launcher_variables = {
        "K_MPI_JOB_ROLE": "launcher",
        "OMPI_MCA_orte_keep_fqdn_hostnames": "true",
        "OMPI_MCA_orte_default_hostfile": "/etc/mpi/hostfile",
        "OMPI_MCA_plm_rsh_args": "-o ConnectionAttempts=10",
        "OMPI_MCA_orte_set_default_slots": str(slots),
        "NVIDIA_VISIBLE_DEVICES": "",
        "NVIDIA_DRIVER_CAPABILITIES": "",
    }
    launcher = _pod(job, "Launcher", f"{name}-launcher", launcher_variables, {})
    config = {"name": f"{name}-config", "items": [_item("hostfile", 0o444), _item("discover_hosts.sh", 0o555)]}
    launcher.spec["volumes"].append({"name": "mpi-job-config", "configMap": config})
    launcher.spec["containers"][0]["volumeMounts"].append({"name": "mpi-job-config", "mountPath": "/etc/mpi"})
    pods = []
    for index, worker in enumerate(workers):
        place = {f"{_LABELS}/replica-index": str(index)}
        pods.append(_pod(job, "Worker", worker, {"K_MPI_JOB_ROLE": "worker"}, place))
        pods[-1].spec["dnsConfig"] = {"searches": [f"{name}.{namespace}.svc.cluster.local"]}
    return Workload(
        launcher=launcher,
        workers=pods,
        config={"hostfile": hostfile},
        config_name=f"{name}-config",
        secret_name=f"{name}-ssh",
    )


def _item(key: str, mode: int | None = None, path: str | None = None) -> dict[str, Any]:
    return {"key": key, "path": path or key, **({} if mode is None else {"mode": mode})}


def _pod(job: Manifest, role: str, name: str, variables: dict[str, str], labels: dict[str, str]) -> Pod:
    """The template of a role with the name, the variables, the labels and the key that the operator adds."""
    replica, path = job["spec"]["mpiReplicaSpecs"][role], job["spec"]["sshAuthMountPath"]
    spec = copy.deepcopy(replica["template"]["spec"])
    spec.update(hostname=name, subdomain=job["metadata"]["name"], restartPolicy=replica["restartPolicy"])
    container = spec["containers"][0]
    if role == "Worker" and not container.get("command") and not container.get("args"):
        container["command"] = ["/usr/sbin/sshd", "-De"]
    container.setdefault("env", []).extend({"name": key, "value": value} for key, value in variables.items())
    secret: dict[str, Any] = {
        "secretName": f"{job['metadata']['name']}-ssh",
        "items": [
            _item("ssh-privatekey", path="id_rsa"),
            _item("ssh-publickey", path="id_rsa.pub"),
            _item("ssh-publickey", path="authorized_keys"),
        ],
    }
    if path == "/root/.ssh":
        secret["defaultMode"] = 0o600
    spec.setdefault("volumes", []).append({"name": "ssh-auth", "secret": secret})
    container.setdefault("volumeMounts", []).append({"name": "ssh-auth", "mountPath": path})
    labels = {
        **replica["template"]["metadata"].get("labels", {}),
        f"{_LABELS}/operator-name": "mpi-operator",
        f"{_LABELS}/job-name": job["metadata"]["name"],
        f"{_LABELS}/job-role": role.lower(),
        **labels,
    }
    return Pod(name=name, spec=spec, labels=labels)
