"""Every folder, with every component, as a real API server judges it."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.k8s.manifest_rules import pod_templates
from tests.k8s.rendering import FOLDERS, Manifest, copy_manifests, find, offered_components, render, with_components

from .cluster import Cluster

pytestmark = pytest.mark.cluster

_LATER = {"gang"}
"""Components for Kubernetes 1.37, of which this one, 1.34, knows nothing."""

COMBINATIONS = [
    (folder, names)
    for folder in FOLDERS
    for offered in [[name for name in offered_components(folder) if name not in _LATER]]
    for names in ([], *([name] for name in offered), offered)
]


@pytest.fixture(scope="module")
def restricted(control_plane: Cluster) -> Iterator[Callable[..., tuple[int, str]]]:
    """Asks whether manifests would be admitted in a namespace for restricted pods; gives the code and the message."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    control_plane.make(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "judged", "labels": labels}},
            {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": "training"},
                "value": 1,
            },
        ]
    )
    control_plane.await_condition("--for=create", "--namespace", "judged", "serviceaccount/default")

    def ask(manifests: list[Manifest]) -> tuple[int, str]:
        items = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        arguments = ("--namespace", "judged", "apply", "--validate=strict", "--dry-run=server", "-f", "-")
        return control_plane.try_kubectl(*arguments, given=items)

    yield ask
    control_plane.kubectl("delete", "namespace/judged", "priorityclass/training")


def _pods(manifests: list[Manifest]) -> list[Manifest]:
    """A pod of each template, as a controller would make it."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"pod-{number}", "labels": labels},
            "spec": _spec(spec),
        }
        for number, (_, labels, spec) in enumerate(pod_templates(manifests))
    ]


def _spec(spec: Manifest) -> Manifest:
    """Without what only the admission of accounts asks for: that the account exists."""
    return {name: value for name, value in spec.items() if name != "serviceAccountName"}


@pytest.mark.parametrize(
    ("folder", "names"), COMBINATIONS, ids=lambda each: each if isinstance(each, str) else "+".join(each) or "alone"
)
def test_server_accepts_each_folder_and_its_pods(
    restricted: Callable[..., tuple[int, str]], tmp_path: Path, folder: str, names: list[str]
) -> None:
    k8s = copy_manifests(tmp_path)
    kustomization = k8s / folder / "kustomization.yaml"
    manifests = with_components(kustomization, names) if names else render(kustomization.parent)
    code, said = restricted(manifests)
    assert code == 0, said
    assert said.count("(server dry run)") == len(manifests)
    pods = _pods(manifests)
    code, said = restricted(pods)
    assert code == 0, said
    assert said.count("created (server dry run)") == len(pods)


def _misspell(manifests: list[Manifest]) -> None:
    find(manifests, "MPIJob", "train")["spec"]["slotPerWorker"] = 2


def _misspell_in_a_core_kind(manifests: list[Manifest]) -> None:
    find(manifests, "Deployment", "tensorboard")["spec"]["template"]["spec"]["containers"][0]["comand"] = ["x"]


def _number_for_a_text(manifests: list[Manifest]) -> None:
    find(manifests, "MPIJob", "train")["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"] = "two"


def _wrong_selector(manifests: list[Manifest]) -> None:
    find(manifests, "Deployment", "tensorboard")["spec"]["selector"]["matchLabels"] = {"app": "board"}


def _policy_of_a_pod_that_restarts(manifests: list[Manifest]) -> None:
    find(manifests, "Job", "prepare")["spec"]["template"]["spec"]["restartPolicy"] = "Always"


MISTAKES = {
    _misspell: 'unknown field "slotPerWorker"',
    _misspell_in_a_core_kind: 'unknown field "comand"',
    _number_for_a_text: 'got "string", expected "integer"',
    _wrong_selector: "`selector` does not match template `labels`",
    _policy_of_a_pod_that_restarts: 'valid values: "OnFailure", "Never"',
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda each: each.__name__.strip("_"))
def test_server_refuses_a_mistake(
    restricted: Callable[..., tuple[int, str]],
    rendered: dict[str, list[Manifest]],
    mistake: Callable[[list[Manifest]], None],
) -> None:
    manifests = copy.deepcopy(rendered["overlays/cpu"])
    mistake(manifests)
    code, said = restricted(manifests)
    assert code != 0
    assert MISTAKES[mistake] in said


def test_server_refuses_a_pod_with_more_rights(
    restricted: Callable[..., tuple[int, str]], rendered: dict[str, list[Manifest]]
) -> None:
    pods = copy.deepcopy(_pods(rendered["standalone"]))
    for pod in pods:
        del pod["spec"]["securityContext"]["runAsNonRoot"]
    code, said = restricted(pods)
    assert code != 0
    assert said.count('violates PodSecurity "restricted:latest"') == len(pods)
