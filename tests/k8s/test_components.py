"""The components of k8s/components, in each folder that offers them, alone and all together."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .manifest_rules import all_faults, pod_templates
from .rendering import (
    FOLDERS,
    K8S,
    KUBECTL,
    NO_KUBECTL,
    Manifest,
    copy_manifests,
    find,
    offered_components,
    with_components,
)

ALL = {path.name for path in (K8S / "components").iterdir()}
COMBINATIONS = [
    (folder, names)
    for folder in FOLDERS
    for names in (*([name] for name in offered_components(folder)), offered_components(folder))
]


@pytest.fixture(scope="module")
def combined(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, list[str]], list[Manifest]]:
    """Renders a folder with components."""
    if KUBECTL is None:
        pytest.skip(NO_KUBECTL)
    known: dict[tuple[str, ...], list[Manifest]] = {}

    def render(folder: str, names: list[str]) -> list[Manifest]:
        key = (folder, *names)
        if key not in known:
            k8s = copy_manifests(tmp_path_factory.mktemp("k8s"))
            known[key] = with_components(k8s / folder / "kustomization.yaml", names)
        return copy.deepcopy(known[key])

    return render


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_offers_all_components(folder: str) -> None:
    is_mpijob = folder in ("overlays/cpu", "overlays/gpu", "overlays/elastic")
    assert set(offered_components(folder)) == ALL - ({"gang"} if is_mpijob else set())


@pytest.mark.parametrize(
    ("folder", "names"), COMBINATIONS, ids=lambda each: each if isinstance(each, str) else "+".join(each)
)
def test_combination_has_no_fault(combined: Callable[..., list[Manifest]], folder: str, names: list[str]) -> None:
    assert all_faults(combined(folder, names)) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_components_reach_the_training(combined: Callable[..., list[Manifest]], folder: str) -> None:
    manifests = combined(folder, offered_components(folder))
    queued = {
        each["kind"]
        for each in manifests
        if each["metadata"].get("labels", {}).get("kueue.x-k8s.io/queue-name") == "default"
    }
    assert queued == {{"standalone": "Job", "overlays/trainjob": "TrainJob"}.get(folder, "MPIJob")}
    for name, labels, spec in pod_templates(manifests):
        role = labels.get("app.kubernetes.io/component")
        trains = role in ("launcher", "worker")
        assert spec.get("priorityClassName") == ("training" if trains else None), name
        assert ("initContainers" in spec) == (role == "worker"), name
    text = str(manifests)
    assert text.count("'name': 'CNN_LOG_FORMAT', 'value': 'json'") == 1
    assert text.count("'name': 'CNN_WAIT_SECONDS', 'value': '86400'") == 1


def _node(manifests: list[Manifest]) -> Any:
    runtime = find(manifests, "TrainingRuntime", "cnn")
    return runtime["spec"]["template"]["spec"]["replicatedJobs"][1]["template"]["spec"]["template"]["spec"]


MUTATIONS: dict[str, tuple[Callable[[list[Manifest]], Any], str]] = {
    "gang of more pods": (
        lambda manifests: find(manifests, "PodGroup", "train")["spec"]["schedulingPolicy"]["gang"].update(minCount=3),
        "minCount is 3, and there are 2 pods",
    ),
    "gang without pods": (
        lambda manifests: find(manifests, "PodGroup", "train")["metadata"].update(name="gang"),
        "there is no PodGroup train|no pod belongs to the PodGroup gang",
    ),
    "unknown field of a gang": (
        lambda manifests: find(manifests, "PodGroup", "train")["spec"].update(minCount=2), "'minCount' was unexpected"
    ),
    "unknown field of a pod's gang": (
        lambda manifests: _node(manifests)["schedulingGroup"].update(name="train"), "'name' was unexpected"
    ),
    "data that nothing copies": (
        lambda manifests: _node(manifests).pop("initContainers"), "/data is no claim"
    ),
    "copy by root": (
        lambda manifests: _node(manifests)["initContainers"][0].pop("securityContext"),
        "not false|not all capabilities|not true",
    ),
    "copy to a volume that is not there": (
        lambda manifests: _node(manifests)["volumes"].pop(), "there is no volume shared-data"
    ),
}  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_mistake_in_a_component_is_found(combined: Callable[..., list[Manifest]], mutation: str) -> None:
    change, reason = MUTATIONS[mutation]
    manifests = combined("overlays/trainjob", offered_components("overlays/trainjob"))
    change(manifests)
    found = all_faults(manifests)
    assert found
    assert all(re.search(reason, fault) for fault in found), found


def test_the_gang_has_as_many_pods_as_the_job(tmp_path: Path) -> None:
    if KUBECTL is None:
        pytest.skip(NO_KUBECTL)
    k8s = copy_manifests(tmp_path)
    job = k8s / "overlays/trainjob/trainjob.yaml"
    job.write_text(job.read_text().replace("numNodes: 2", "numNodes: 5"))
    manifests = with_components(k8s / "overlays/trainjob/kustomization.yaml", ["gang"])
    assert find(manifests, "PodGroup", "train")["spec"]["schedulingPolicy"]["gang"]["minCount"] == 5
    assert all_faults(manifests) == []
