"""Definitions of the custom resources in the manifests, made from the schemas by which the manifests are checked."""

import json
from typing import Any

from tests.k8s.manifest_rules import POD_MONITOR_SCHEMA, SCHEMA_FILES
from tests.k8s.rendering import K8S, Manifest

_GROUPS = {
    "MPIJob": ("kubeflow.org", "v2beta1"),
    "TrainJob": ("trainer.kubeflow.org", "v1alpha1"),
    "TrainingRuntime": ("trainer.kubeflow.org", "v1alpha1"),
    "PodMonitor": ("monitoring.coreos.com", "v1"),
}


def definitions() -> list[Manifest]:
    """A CustomResourceDefinition for each kind."""
    schemas = {kind: json.loads((K8S / "schemas" / file).read_text()) for kind, file in SCHEMA_FILES.items()}
    schemas["PodMonitor"] = POD_MONITOR_SCHEMA
    return [_definition(kind, *_GROUPS[kind], schema) for kind, schema in schemas.items()]


def _definition(kind: str, group: str, version: str, schema: dict[str, Any]) -> Manifest:
    singular, plural = kind.lower(), f"{kind.lower()}s"
    properties = {name: _structural(each) for name, each in schema["properties"].items() if name == "spec"}
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties, "required": ["spec"]}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "listKind": f"{kind}List", "singular": singular, "plural": plural},
            "versions": [served],
        },
    }


def _structural(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema as a structural one, in which fields that are not listed are unknown without a word about it."""
    if "anyOf" in schema:  # a number or a text
        return {"x-kubernetes-int-or-string": True, **{key: schema[key] for key in ("pattern",) if key in schema}}
    structural = {key: value for key, value in schema.items() if key not in ("properties", "items")}
    if structural.get("additionalProperties") is False:
        del structural["additionalProperties"]
    elif "additionalProperties" in structural:
        structural["additionalProperties"] = _structural(structural["additionalProperties"])
    elif schema["type"] == "object" and "properties" not in schema:
        structural["x-kubernetes-preserve-unknown-fields"] = True
    if "properties" in schema:
        structural["properties"] = {name: _structural(each) for name, each in schema["properties"].items()}
    if "items" in schema:
        structural["items"] = _structural(schema["items"])
    return structural
