"""What Kubeflow Trainer v2.3 makes of a TrainJob for its MPI plugin: validation, and the pods of the JobSet.

Follows pkg/webhooks, pkg/runtime/core/trainingruntime.go and pkg/runtime/framework/plugins/{mpi,jobset} of
kubeflow/trainer, and the names that JobSet v0.12 gives to pods.
"""

import copy
from collections.abc import Iterator

from tests.k8s.mpi_operator import Pod, Workload
from tests.k8s.rendering import Manifest

_ANCESTOR = "trainer.kubeflow.org/trainjob-ancestor-step"
_RESERVED = {
    "OMPI_MCA_orte_default_hostfile",
    "OMPI_MCA_plm_rsh_args",
    "OMPI_MCA_orte_keep_fqdn_hostnames",
    "OMPI_MCA_orte_set_default_slots",
}
_LONGEST_NAME = 63


def with_defaults(runtime: Manifest) -> Manifest:
    """The TrainingRuntime with what the API server fills in."""
    runtime = copy.deepcopy(runtime)
    policy = runtime["spec"].setdefault("mlPolicy", {})
    mpi = policy.setdefault("mpi", {})
    mpi.setdefault("mpiImplementation", "OpenMPI")
    mpi.setdefault("numProcPerNode", 1)
    mpi.setdefault("sshAuthMountPath", "/root/.ssh")
    mpi.setdefault("runLauncherAsNode", False)
    for job in runtime["spec"]["template"]["spec"]["replicatedJobs"]:
        job.setdefault("replicas", 1)
    return runtime


def runtime_of(job: Manifest, manifests: list[Manifest]) -> Manifest | None:
    """The runtime, with defaults, that a TrainJob refers to; None if it is not among the manifests before it."""
    reference = {"kind": "ClusterTrainingRuntime", "apiGroup": "trainer.kubeflow.org", **job["spec"]["runtimeRef"]}
    for manifest in manifests[: manifests.index(job)]:
        group = manifest["apiVersion"].partition("/")[0]
        found = {"kind": manifest["kind"], "apiGroup": group, "name": manifest["metadata"]["name"]}
        if found == reference:
            return with_defaults(manifest)
    return None


def faults(runtime: Manifest, job: Manifest) -> Iterator[str]:
    """Why the Trainer or JobSet would refuse a TrainJob, or the runtime with defaults that it refers to."""
    jobs = {each["name"]: each for each in runtime["spec"]["template"]["spec"]["replicatedJobs"]}
    mpi, trainer = runtime["spec"]["mlPolicy"]["mpi"], job["spec"].get("trainer", {})
    if mpi["numProcPerNode"] < 1:
        yield "NumProcPerNode in mpiPolicy must be >= 1"
    for name, each in jobs.items():
        if _is_trainer(each):
            if each["replicas"] != 1:
                yield f"replicatedJobs {name}: replicas always must be 1"
            if "node" not in _containers(each):
                yield f"replicatedJobs {name} must contain the required container for the ancestor: node"
    if trainer.get("numNodes", 1) >= 2 and mpi["runLauncherAsNode"] and not {"launcher", "node"} <= jobs.keys():
        yield "numNodes must be 1, as the runtime has no jobs launcher and node"
    reserved = _RESERVED & {each["name"] for each in trainer.get("env", [])}
    if reserved:
        yield f"must not have reserved envs: {', '.join(sorted(reserved))}"
    for target in runtime["spec"]["template"]["spec"].get("successPolicy", {}).get("targetReplicatedJobs", []):
        if target not in jobs:
            yield f"successPolicy names the job {target}, which is not there"
    for name in jobs:
        longest = f"{job['metadata']['name']}-{name}-0-{trainer.get('numNodes', 1)}-xxxxx"
        if len(longest) > _LONGEST_NAME:
            yield f"the pod's name {longest} is too long"


def make_workload(runtime: Manifest, job: Manifest) -> Workload:
    """The pods of a valid TrainJob whose launcher is a node, too, and its ConfigMap."""
    assert not list(faults(runtime, job)), list(faults(runtime, job))
    spec, name = runtime["spec"], job["metadata"]["name"]
    mpi, trainer = spec["mlPolicy"]["mpi"], job["spec"]["trainer"]
    assert mpi["runLauncherAsNode"]
    slots = trainer.get("numProcPerNode", mpi["numProcPerNode"])
    counts = {"launcher": spec["mlPolicy"].get("numNodes", 1), "node": max(trainer.get("numNodes", 1) - 1, 1)}
    subdomain = spec["template"]["spec"].get("network", {}).get("subdomain", name)
    pods: dict[str, list[Pod]] = {}
    for each in spec["template"]["spec"]["replicatedJobs"]:
        names = [f"{name}-{each['name']}-0-{index}" for index in range(counts[each["name"]])]
        pods[each["name"]] = [_pod(each, pod, subdomain, name, mpi, trainer, slots) for pod in names]
    (launcher,) = pods["launcher"]
    hosts = [pod.name for group in pods.values() for pod in group]
    return Workload(
        launcher=launcher,
        workers=pods["node"],
        config={"hostfile": "".join(f"{host}.{subdomain} slots={slots}\n" for host in hosts)},
        config_name=f"{name}-mpi-hostfile",
        secret_name=f"{name}-mpi-ssh-auth",
    )


def _pod(
    job: Manifest, pod_name: str, subdomain: str, train_job: str, mpi: Manifest, trainer: Manifest, slots: int
) -> Pod:
    """A pod of a replicated job, with the variables, key and hostfile of the plugin and the TrainJob's own."""
    spec = copy.deepcopy(job["template"]["spec"]["template"]["spec"])
    spec.update(hostname=pod_name, subdomain=subdomain)
    container = next(each for each in spec["containers"] if each["name"] == "node")
    private = {"key": "ssh-privatekey", "path": "id_rsa", "mode": 0o640}
    public = [{"key": "ssh-publickey", "path": path, "mode": 0o644} for path in ("id_rsa.pub", "authorized_keys")]
    secret = {"secretName": f"{train_job}-mpi-ssh-auth", "defaultMode": 0o400, "items": [private, *public]}
    spec["volumes"].append({"name": "mpi-ssh-auth", "secret": secret})
    container["volumeMounts"].append({"name": "mpi-ssh-auth", "mountPath": mpi["sshAuthMountPath"]})
    variables = {"JOB_COMPLETION_INDEX": pod_name.rpartition("-")[2]}  # which Kubernetes adds
    if job["name"] == "launcher":
        item = {"key": "hostfile", "path": "hostfile", "mode": 0o444}
        config = {"name": f"{train_job}-mpi-hostfile", "items": [item]}
        spec["volumes"].append({"name": "mpi-hostfile", "configMap": config})
        container["volumeMounts"].append({"name": "mpi-hostfile", "mountPath": "/etc/mpi"})
        variables |= {
            "OMPI_MCA_orte_default_hostfile": "/etc/mpi/hostfile",
            "OMPI_MCA_orte_keep_fqdn_hostnames": "true",
            "OMPI_MCA_orte_set_default_slots": str(slots),
            "OMPI_MCA_plm_rsh_args": "-o ConnectionAttempts=10",
        }
    if _is_trainer(job):
        container.update({key: trainer[key] for key in ("image", "command", "args") if key in trainer})
    variables |= {each["name"]: each["value"] for each in trainer.get("env", [])}
    own = [each for each in container.get("env", []) if each["name"] not in variables]
    container["env"] = [*own, *({"name": key, "value": value} for key, value in variables.items())]
    return Pod(name=pod_name, spec=spec)


def _is_trainer(job: Manifest) -> bool:
    return bool(job["template"].get("metadata", {}).get("labels", {}).get(_ANCESTOR) == "trainer")


def _containers(job: Manifest) -> set[str]:
    return {container["name"] for container in job["template"]["spec"]["template"]["spec"]["containers"]}
