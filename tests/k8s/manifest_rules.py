"""What is wrong with rendered manifests: schemas, what the operators want, references, and hardening."""

import functools
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate

from tests.k8s import kubeflow_trainer
from tests.k8s.mpi_operator import faults as operator_faults
from tests.k8s.mpi_operator import with_defaults
from tests.k8s.rendering import K8S, Manifest

KUBERNETES = "1.33"
KUBERNETES_WITH_GANGS = "1.37"
_SSH_FOLDER = "/home/mpiuser/.ssh"
_LEAST_GRACE = 60
"""Seconds that a step and a checkpoint may take."""

POD_MONITOR_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "PodMonitor"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["selector", "podMetricsEndpoints"],
            "properties": {
                "selector": {"type": "object"},
                "podMetricsEndpoints": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["port"],
                        "properties": {
                            "port": {"type": "string"},
                            "interval": {"type": "string", "pattern": "^[0-9]+s$"},
                        },
                    },
                },
            },
        },
    },
}
"""The fields of the Prometheus Operator's PodMonitor that k8s/components uses."""


def all_faults(manifests: list[Manifest]) -> list[str]:
    """Everything that is wrong, a sentence each; empty when all is well."""
    has_gang = any(manifest["kind"] == "PodGroup" for manifest in manifests)
    version = KUBERNETES_WITH_GANGS if has_gang else KUBERNETES
    texts = [json.dumps(manifest, sort_keys=True) for manifest in manifests]
    found = [fault for text in texts for fault in _schema_faults(text, version)]
    if found:
        return found  # the rest relies on the shape
    for manifest in manifests:
        if manifest["kind"] == "MPIJob":
            found += _mpijob_faults(manifest)
        if manifest["kind"] == "Job":
            found += _job_faults(f"Job {manifest['metadata']['name']}", manifest["spec"])
        if manifest["kind"] == "TrainJob":
            found += _trainjob_faults(manifest, manifests)
    for name, labels, spec in pod_templates(manifests):
        found += [f"{name}: {fault}" for fault in (*_pod_faults(spec), *_reference_faults(spec, manifests))]
        if labels.get("app.kubernetes.io/component") == "worker":
            found += [f"{name}: {fault}" for fault in _worker_faults(spec)]
            if name.startswith("MPIJob"):
                found += [f"{name}: {fault}" for fault in _readiness_faults(spec)]
    found += _named_port_faults(manifests)
    found += _gang_faults(manifests)
    return found + _selection_faults(manifests) + _worker_count_faults(manifests)


def pod_templates(manifests: list[Manifest]) -> Iterator[tuple[str, dict[str, str], Manifest]]:
    """Each template's name, labels and specification."""
    for manifest in manifests:
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        templates = {}
        if manifest["kind"] == "MPIJob":
            replicas = manifest["spec"]["mpiReplicaSpecs"]
            templates = {f"{name} {role}": replica["template"] for role, replica in replicas.items()}
        elif manifest["kind"] == "TrainingRuntime":
            jobs = manifest["spec"]["template"]["spec"]["replicatedJobs"]
            templates = {f"{name} {job['name']}": job["template"]["spec"]["template"] for job in jobs}
        elif "template" in manifest.get("spec", {}):
            templates = {name: manifest["spec"]["template"]}
        for each, template in templates.items():
            yield each, template.get("metadata", {}).get("labels", {}), template["spec"]


SCHEMA_FILES = {
    "MPIJob": "mpijob-v2beta1.json",
    "TrainJob": "trainjob-v1alpha1.json",
    "TrainingRuntime": "trainingruntime-v1alpha1.json",
}
"""The schemas of custom resources, in k8s/schemas, made from what their projects publish."""


@functools.cache
def _custom_schema(kind: str) -> jsonschema.Draft7Validator | None:
    """The schema of a kind that Kubernetes itself does not have; None if it has."""
    if kind == "PodMonitor":
        return jsonschema.Draft7Validator(POD_MONITOR_SCHEMA)
    if kind not in SCHEMA_FILES:
        return None
    return jsonschema.Draft7Validator(json.loads((K8S / "schemas" / SCHEMA_FILES[kind]).read_text()))


@functools.cache
def _schema_faults(text: str, version: str) -> list[str]:
    """Of a manifest as JSON, for a version of Kubernetes: what has been looked at once is not again."""
    manifest = json.loads(text)
    name = f"{manifest['kind']} {manifest['metadata']['name']}"
    schema = _custom_schema(manifest["kind"])
    if schema is not None:
        return [
            f"{name}: {'.'.join(map(str, error.absolute_path))}: {error.message}"
            for error in schema.iter_errors(manifest)
        ]
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{name}: {'.'.join(map(str, error.path))}: {error.message}"]
    return []


def _mpijob_faults(job: Manifest) -> Iterator[str]:
    complete, spec = with_defaults(job), job["spec"]
    yield from operator_faults(complete)
    replicas = spec["mpiReplicaSpecs"]
    unknown = replicas.keys() - {"Launcher", "Worker"}
    if unknown:
        yield f"mpiReplicaSpecs has {', '.join(unknown)}: only Launcher and Worker are looked at"
    if complete["spec"]["launcherCreationPolicy"] != "AtStartup":
        yield "launcherCreationPolicy is not AtStartup: it would wait for pods that a gang scheduler holds back"
    if complete["spec"]["runPolicy"]["cleanPodPolicy"] == "None":
        yield "cleanPodPolicy is None: workers would keep their devices when the job is done"
    if complete["spec"]["sshAuthMountPath"] != _SSH_FOLDER:
        yield f"sshAuthMountPath is not {_SSH_FOLDER}: that is where the image looks for the key"
    if "Launcher" in replicas and _gpus(replicas["Launcher"]["template"]["spec"]):
        yield "the launcher asks for a GPU: it has no ranks"
    if "Launcher" in replicas and "Worker" in replicas:
        launcher = replicas["Launcher"]["template"]["spec"]["containers"][0]
        command = launcher.get("command", [])
        hosts = "-".join(command[3:5]) if "--elastic" in command else str(replicas["Worker"].get("replicas"))
        yield from _order_faults(launcher, hosts, complete["spec"]["slotsPerWorker"])
    gpus = _gpus(replicas["Worker"]["template"]["spec"]) if "Worker" in replicas else 0
    if gpus and gpus != complete["spec"]["slotsPerWorker"]:
        yield f"a worker has {gpus} GPUs and {complete['spec']['slotsPerWorker']} ranks: each rank takes one"


def _trainjob_faults(job: Manifest, manifests: list[Manifest]) -> Iterator[str]:
    runtime = kubeflow_trainer.runtime_of(job, manifests)
    if runtime is None:
        yield f"there is no runtime {job['spec']['runtimeRef']} before the TrainJob"
        return
    yield from kubeflow_trainer.faults(runtime, job)
    spec, trainer = runtime["spec"], job["spec"].get("trainer", {})
    mpi, jobs = spec["mlPolicy"]["mpi"], spec["template"]["spec"]["replicatedJobs"]
    if spec["mlPolicy"].get("numNodes", 1) != 1:
        yield "numNodes of the runtime is the number of launchers: it must be 1"
    if not mpi["runLauncherAsNode"]:
        yield "runLauncherAsNode is not true: the launcher, whose progress the Trainer takes, would have no rank"
    if trainer.get("numNodes", 1) < 2:
        yield "numNodes is less than 2, but the Trainer starts a launcher and a node"
    if mpi["sshAuthMountPath"] != _SSH_FOLDER:
        yield f"sshAuthMountPath is not {_SSH_FOLDER}: that is where the image looks for the key"
    if jobs[0]["name"] != "launcher":
        yield "the launcher is not the first job, and so not the first in the hostfile: it would not have rank 0"
    if spec["template"]["spec"].get("successPolicy", {}).get("targetReplicatedJobs") != ["launcher"]:
        yield "the TrainJob does not end with its launcher"
    processes = trainer.get("numProcPerNode", mpi["numProcPerNode"])
    yield from _order_faults(trainer, str(trainer.get("numNodes", 1)), processes)
    for each in jobs:
        yield from _job_faults(f"job {each['name']}", each["template"]["spec"])
        gpus = _gpus(each["template"]["spec"]["template"]["spec"])
        if gpus and gpus != processes:
            yield f"a node has {gpus} GPUs and {processes} ranks: each rank takes one"


def _job_faults(name: str, spec: Manifest) -> Iterator[str]:
    pod = spec["template"]["spec"]
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        yield f"{name}: restartPolicy must be Never or OnFailure"
    if "podFailurePolicy" in spec:
        if pod.get("restartPolicy") != "Never":
            yield f"{name}: podFailurePolicy needs restartPolicy Never"
        rules = [rule["onExitCodes"] for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
        containers = {container["name"] for container in pod["containers"]}
        for rule in rules:
            container = rule.get("containerName")
            if container not in containers:
                yield f"{name}: podFailurePolicy names the container {container}, which is not there"
    else:
        yield f"{name}: without podFailurePolicy a mistake is repeated"
    if spec.get("completionMode") == "Indexed":
        variables = _variables(pod["containers"][0])
        if spec.get("completions") != spec.get("parallelism"):
            yield f"{name}: completions and parallelism differ"
        yield from _order_faults(pod["containers"][0], str(spec.get("completions")))
        if {"succeededIndexes": "0"} not in spec.get("successPolicy", {}).get("rules", []):
            yield f"{name}: without successPolicy for index 0 it would never end"
        if variables.get("SERVICE") != pod.get("subdomain"):
            yield f"{name}: SERVICE is not the subdomain of its pods"


def _order_faults(container: Manifest, hosts: str, workers_per_host: int | None = None) -> Iterator[str]:
    """Whether what is ordered of a container's job is what the job will have."""
    variables = _variables(container)
    if variables.get("CNN_EXPECTED_HOSTS") != hosts:
        yield f"CNN_EXPECTED_HOSTS is {variables.get('CNN_EXPECTED_HOSTS')}, and the job has {hosts}"
    workers = variables.get("CNN_EXPECTED_WORKERS_PER_HOST")
    if workers is None or workers_per_host not in (None, int(workers)):
        yield f"CNN_EXPECTED_WORKERS_PER_HOST is {workers}, and the job has {workers_per_host}"


def _variables(container: Manifest) -> dict[str, str | None]:
    return {each["name"]: each.get("value") for each in container.get("env", [])}


def _pod_faults(spec: Manifest) -> Iterator[str]:
    context = spec.get("securityContext", {})
    wanted = {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000}
    wanted |= {"seccompProfile": {"type": "RuntimeDefault"}}  # type: ignore[dict-item]
    for key, value in wanted.items():
        if context.get(key) != value:
            yield f"securityContext.{key} is not {value}"
    if spec.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken is not false"
    for host in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(host):
            yield f"{host} is set"
    for container in _all_containers(spec):
        yield from _container_faults(container)


def _all_containers(spec: Manifest) -> list[Manifest]:
    return [*spec.get("initContainers", []), *spec["containers"]]


def _container_faults(container: Manifest) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "not all capabilities are dropped"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem is not true"
    resources = container.get("resources", {})
    if not resources.get("limits") or resources.get("requests") != resources["limits"]:
        yield "requests and limits are not equal"
    if not re.search(r":[^:/]+$|@sha256:", container["image"]) or container["image"].endswith(":latest"):
        yield f"the image {container['image']} is not pinned"
    if any("subPath" in mount for mount in container.get("volumeMounts", [])):
        yield "a mount has a subPath, which is never refreshed"


def _worker_faults(spec: Manifest) -> Iterator[str]:
    container = spec["containers"][0]
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    mounted = {mount["mountPath"]: volumes.get(mount["name"], {}) for mount in container.get("volumeMounts", [])}
    memory = mounted.get("/dev/shm", {}).get("emptyDir", {})
    if memory.get("medium") != "Memory" or "sizeLimit" not in memory:
        yield "/dev/shm is no memory with a size limit: 64 MB are too little for NCCL and MPI"
    is_cached = "emptyDir" in mounted.get("/data", {}) and any(
        each["name"] == "cache" for each in spec.get("initContainers", [])
    )
    for path in ("/runs",) if is_cached else ("/data", "/runs"):
        if "persistentVolumeClaim" not in mounted.get(path, {}):
            yield f"{path} is no claim"
    if spec.get("terminationGracePeriodSeconds", 30) < _LEAST_GRACE:
        yield "terminationGracePeriodSeconds is too short for a checkpoint"
    if container.get("livenessProbe", {}).get("exec", {}).get("command") != ["bash", "launch/pod_alive.sh"]:
        yield "nothing notices a rank that stands still"
    if "topologySpreadConstraints" not in spec:
        yield "workers are not spread over nodes"


def _readiness_faults(spec: Manifest) -> Iterator[str]:
    if "tcpSocket" not in spec["containers"][0].get("readinessProbe", {}):
        yield "a worker has no readinessProbe of its ssh port, so its name would be known too early"


def _reference_faults(spec: Manifest, manifests: list[Manifest]) -> Iterator[str]:
    names = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    commands = [spec["containers"][0].get("command", []) for _, _, spec in pod_templates(manifests)]
    names |= {("Secret", command[3]) for command in commands if command[1:3] == ["-m", "cnn.launching.job_key"]}
    account = spec.get("serviceAccountName")
    if account is not None and ("ServiceAccount", account) not in names:
        yield f"there is no ServiceAccount {account}"
    volumes = spec.get("volumes", [])
    for volume in volumes:
        if volume.get("persistentVolumeClaim", {}).get("readOnly"):
            yield f"the claim of {volume['name']} is read-only: mounted by this pod first, it stays closed to others"
        for key, kind, field in (
            ("configMap", "ConfigMap", "name"),
            ("secret", "Secret", "secretName"),
            ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
        ):
            if key in volume and (kind, volume[key][field]) not in names:
                yield f"there is no {kind} {volume[key][field]}"
    declared = {volume["name"] for volume in volumes}
    for container in _all_containers(spec):
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in declared:
                yield f"there is no volume {mount['name']}"


def _selection_faults(manifests: list[Manifest]) -> list[str]:
    found = []
    labels = [labels for _, labels, _ in pod_templates(manifests)]
    for manifest in manifests:
        name, spec = f"{manifest['kind']} {manifest['metadata']['name']}", manifest.get("spec", {})
        selector: Any = {
            "Service": {"matchLabels": spec.get("selector")},
            "PodDisruptionBudget": spec.get("selector"),
            "NetworkPolicy": spec.get("podSelector"),
            "PodMonitor": spec.get("selector"),
        }.get(manifest["kind"])
        if selector is not None and not any(_matches(selector, each) for each in labels):
            found.append(f"{name} selects no pod")
    return found


def _named_port_faults(manifests: list[Manifest]) -> Iterator[str]:
    containers = [container for _, _, spec in pod_templates(manifests) for container in spec["containers"]]
    names = {port["name"] for container in containers for port in container.get("ports", [])}
    for manifest in manifests:
        if manifest["kind"] == "PodMonitor":
            asked = {endpoint["port"] for endpoint in manifest["spec"]["podMetricsEndpoints"]}
        elif manifest["kind"] == "NetworkPolicy":
            rules = manifest["spec"].get("ingress", [])
            asked = {port["port"] for rule in rules for port in rule.get("ports", []) if isinstance(port["port"], str)}
        else:
            continue
        for port in sorted(asked - names):
            yield f"{manifest['kind']} {manifest['metadata']['name']}: no container has a port {port}"


def _matches(selector: Manifest, labels: dict[str, str]) -> bool:
    equal = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return equal and all(
        each["operator"] == "In" and labels.get(each["key"]) in each["values"]
        for each in selector.get("matchExpressions", [])
    )


def _gang_faults(manifests: list[Manifest]) -> Iterator[str]:
    groups = {each["metadata"]["name"]: each["spec"] for each in manifests if each["kind"] == "PodGroup"}
    named = [
        spec["schedulingGroup"]["podGroupName"] for _, _, spec in pod_templates(manifests) if "schedulingGroup" in spec
    ]
    for name in set(named) - groups.keys():
        yield f"there is no PodGroup {name}"
    for name, spec in groups.items():
        count = spec["schedulingPolicy"]["gang"]["minCount"]
        if name not in named:
            yield f"no pod belongs to the PodGroup {name}"
        elif count != _worker_count(manifests):
            yield f"PodGroup {name}: minCount is {count}, and there are {_worker_count(manifests)} pods"


def _worker_count(manifests: list[Manifest]) -> int | None:
    """The number of pods with ranks."""
    workers = None
    for manifest in manifests:
        if manifest["kind"] == "MPIJob":
            workers = manifest["spec"]["mpiReplicaSpecs"].get("Worker", {}).get("replicas")
        elif manifest["kind"] == "Job" and manifest["spec"].get("completionMode") == "Indexed":
            workers = manifest["spec"]["completions"]
        elif manifest["kind"] == "TrainJob":
            workers = manifest["spec"].get("trainer", {}).get("numNodes")
    return workers


def _worker_count_faults(manifests: list[Manifest]) -> list[str]:
    workers = _worker_count(manifests)
    for manifest in manifests:
        if manifest["kind"] == "PodDisruptionBudget":
            least = manifest["spec"].get("minAvailable")
            if not isinstance(least, int):
                return ["PodDisruptionBudget: minAvailable is no whole number, which pods of an MPIJob need"]
            if workers is not None and least > workers:
                return [f"PodDisruptionBudget: minAvailable {least} is more than the {workers} workers"]
    return []


def _gpus(spec: Manifest) -> int:
    return sum(int(each.get("resources", {}).get("limits", {}).get("nvidia.com/gpu", 0)) for each in spec["containers"])
