"""A folder of manifests as a user adapts it to a node of this machine's size, and to another training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.k8s.rendering import copy_manifests

_RANKS = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "3Gi"}}
_OTHERS = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}

_TEMPLATES = {
    "MPIJob": {
        "/spec/mpiReplicaSpecs/Launcher/template/spec": _OTHERS,
        "/spec/mpiReplicaSpecs/Worker/template/spec": _RANKS,
    },
    "TrainingRuntime": {
        f"/spec/template/spec/replicatedJobs/{number}/template/spec/template/spec": _RANKS for number in (0, 1)
    },
    "Job": {"/spec/template/spec": _RANKS},
    "Deployment": {"/spec/template/spec": _OTHERS},
}
"""Where the kinds have templates of pods."""

_LAUNCHERS = {
    "MPIJob": "/spec/mpiReplicaSpecs/Launcher/template/spec/containers/0",
    "TrainJob": "/spec/trainer",
    "Job": "/spec/template/spec/containers/0",
}
"""Where the kinds have the command and the arguments of the launcher."""

_KINDS = {
    "standalone": ("Job", "Deployment"),
    "overlays/cpu": ("MPIJob", "Job", "Deployment"),
    "overlays/elastic": ("MPIJob", "Job", "Deployment"),
    "overlays/trainjob": ("TrainJob", "TrainingRuntime", "Job", "Deployment"),
}


def adapt(
    scratch: Path, folder: str, arguments: Sequence[str] = (), command: Sequence[str] = (), **training: Any
) -> Path:
    """A kustomization of k8s/`folder` with less demand for resources, and other settings of the training.

    `arguments` follow those of the launcher; `command`, if any, replaces its own.
    """
    kinds = _KINDS[folder]
    k8s = copy_manifests(scratch)
    settings = k8s / "base" / "training.yaml"
    settings.write_text(yaml.safe_dump({**yaml.safe_load(settings.read_text()), **training}))
    patches: list[dict[str, Any]] = []
    for kind, templates in _TEMPLATES.items():
        if kind in kinds:
            changes = [
                {"op": "replace", "path": f"{path}/containers/0/resources", "value": resources}
                for path, resources in templates.items()
            ]
            patches.append({"target": {"kind": kind}, "patch": yaml.safe_dump(changes)})
    owner = next(kind for kind in _LAUNCHERS if kind in kinds)
    changes = [{"op": "add", "path": f"{_LAUNCHERS[owner]}/args/-", "value": argument} for argument in arguments]
    if command:
        changes.append({"op": "replace", "path": f"{_LAUNCHERS[owner]}/command", "value": list(command)})
    if changes:
        patches.append({"target": {"kind": owner, "name": "train"}, "patch": yaml.safe_dump(changes)})
    here = k8s / "small-node"
    here.mkdir()
    order = {"order": "fifo"}  # a TrainJob after its runtime, which is not taken over from the folder below
    kustomization = {"resources": [f"../{folder}"], "patches": patches, "sortOptions": order}
    (here / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return here
