"""How published files name, order and preprocess for the layers of this package's networks: a row for each layout."""

import dataclasses
import itertools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from cnn.models.registry import NETWORKS

_LIKENESS = 0.5
"""Share of common layers from which on a file is taken for a network's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """How a library names the layers of a family of networks, and what its networks expect."""

    library: str
    family: str
    """As in `Network`."""

    suffix: str
    """Of the files; the format determines how kernels are stored."""

    layers: Callable[[Mapping[str, Any]], dict[str, str]]
    """The library's names of layers by this package's, from the options of a row in NETWORKS."""

    conventions: str | None = None
    """A name in CONVENTIONS; None if the network has none."""

    preprocessing: str
    """A name in PREPROCESSING of cnn/data."""

    reversed_channels: bool = False
    """Whether the network expects blue before green and red."""


def is_of_classifier(layer: str) -> bool:
    """Whether a layer is one of those after the convolutions, which are new for other classes or image sizes."""
    return re.match(r"fc\d|logits|auxiliary", layer) is not None


def _vgg_blocks(options: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The convolutions' names, each with its block's number."""
    from cnn.models.vgg import CONVOLUTIONS  # Keras takes seconds to import

    for block, count in enumerate(CONVOLUTIONS[options["layers"]], start=1):
        yield from ((f"block{block}_conv{number}", block) for number in range(1, count + 1))


def _keras_vgg(options: Mapping[str, Any]) -> dict[str, str]:
    names = [name for name, _ in _vgg_blocks(options)]
    return {name: name for name in (*names, "fc1", "fc2")} | {"logits": "predictions"}


def _torch_features(options: Mapping[str, Any]) -> dict[str, str]:
    """The positions of convolution, normalisation, ReLU and, after a block, pooling in one sequence."""
    names, position, last = {}, 0, 1
    for name, block in _vgg_blocks(options):
        position, last = position + (block - last), block
        names[name] = f"features.{position}"
        if options["normalised"]:
            names[f"{name}_bn"] = f"features.{position + 1}"
        position += 3 if options["normalised"] else 2
    return names


def _torchvision_vgg(options: Mapping[str, Any]) -> dict[str, str]:
    return _torch_features(options) | {"fc1": "classifier.0", "fc2": "classifier.3", "logits": "classifier.6"}


def _timm_vgg(options: Mapping[str, Any]) -> dict[str, str]:
    return _torch_features(options) | {"fc1": "pre_logits.fc1", "fc2": "pre_logits.fc2", "logits": "head.fc"}


def _resnet_blocks(options: Mapping[str, Any]) -> Iterator[tuple[str, int, int, int, bool]]:
    """Each residual block's name, stage, number and convolutions, and whether its shortcut is projected."""
    from cnn.models.resnet import BLOCKS  # Keras takes seconds to import

    convolutions = 3 if options["layers"] >= 50 else 2
    for stage, count in enumerate(BLOCKS[options["layers"]], start=1):
        for number in range(1, count + 1):
            is_projected = number == 1 and (stage > 1 or convolutions == 3)
            yield f"stage{stage}_block{number}", stage, number, convolutions, is_projected


def _keras_resnet(options: Mapping[str, Any]) -> dict[str, str]:
    names = {"conv1": "conv1_conv", "conv1_bn": "conv1_bn", "logits": "predictions"}
    for block, stage, number, convolutions, is_projected in _resnet_blocks(options):
        theirs = f"conv{stage + 1}_block{number}"
        layers = {f"conv{each}": each for each in range(1, convolutions + 1)}
        for layer, each in (layers | ({"projection": 0} if is_projected else {})).items():
            names[f"{block}_{layer}"] = f"{theirs}_{each}_conv"
            names[f"{block}_{layer}_bn"] = f"{theirs}_{each}_bn"
    return names


def _torch_resnet(options: Mapping[str, Any]) -> dict[str, str]:
    names = {"conv1": "conv1", "conv1_bn": "bn1", "logits": "fc"}
    for block, stage, number, convolutions, is_projected in _resnet_blocks(options):
        theirs = f"layer{stage}.{number - 1}"
        for each in range(1, convolutions + 1):
            names[f"{block}_conv{each}"] = f"{theirs}.conv{each}"
            names[f"{block}_conv{each}_bn"] = f"{theirs}.bn{each}"
        if is_projected:
            names[f"{block}_projection"] = f"{theirs}.downsample.0"
            names[f"{block}_projection_bn"] = f"{theirs}.downsample.1"
    return names


def _torchvision_googlenet(options: Mapping[str, Any]) -> dict[str, str]:
    from cnn.models.googlenet import INCEPTIONS  # Keras takes seconds to import

    convolutions = {"conv1": "conv1", "conv2_reduce": "conv2", "conv2": "conv3"}
    for module in INCEPTIONS:
        branches = ("1x1", "branch1"), ("3x3_reduce", "branch2.0"), ("3x3", "branch2.1"), ("5x5_reduce", "branch3.0")
        for own, theirs in (*branches, ("5x5", "branch3.1"), ("pool_1x1", "branch4.1")):
            convolutions[f"inception_{module}_{own}"] = f"inception{module}.{theirs}"
    names = {"logits": "fc"}
    for number in (1, 2):
        convolutions[f"auxiliary{number}_conv"] = f"aux{number}.conv"
        names |= {f"auxiliary{number}_fc": f"aux{number}.fc1", f"auxiliary{number}_logits": f"aux{number}.fc2"}
    for own, theirs in convolutions.items():
        names |= {own: f"{theirs}.conv", f"{own}_bn": f"{theirs}.bn"}
    return names


def _keras(family: str, layers: Callable[[Mapping[str, Any]], dict[str, str]], conventions: str | None) -> Layout:
    return Layout(
        library="Keras Applications",
        family=family,
        suffix=".h5",
        layers=layers,
        conventions=conventions,
        preprocessing="caffe",
        reversed_channels=True,
    )


def _torch(
    library: str,
    family: str,
    layers: Callable[[Mapping[str, Any]], dict[str, str]],
    conventions: str | None = None,
    preprocessing: str = "torch",
) -> Layout:
    return Layout(
        library=library,
        family=family,
        suffix=".safetensors",
        layers=layers,
        conventions=conventions,
        preprocessing=preprocessing,
    )


LAYOUTS = (
    _keras("vgg", _keras_vgg, None),
    _keras("resnet", _keras_resnet, "keras"),
    _torch("torchvision", "vgg", _torchvision_vgg),
    _torch("timm", "vgg", _timm_vgg),
    _torch("torchvision or timm", "resnet", _torch_resnet, "torch"),
    _torch("torchvision", "googlenet", _torchvision_googlenet, preprocessing="tf"),
)


def recognise(suffix: str, layers: Collection[str]) -> tuple[Layout, str] | None:
    """The layout and the network whose layers are most like those of a file; None if none is like them.

    Args:
        suffix: the file's suffix.
        layers: names of the file's layers, with or without the classifier's.
    """
    best, likeness, found = None, _LIKENESS, set(layers)
    candidates = itertools.product(LAYOUTS, NETWORKS.items())
    for layout, (name, network) in candidates:
        if layout.suffix != suffix or name not in _published(layout):
            continue
        names = layout.layers(network.options)
        body = {theirs for own, theirs in names.items() if not is_of_classifier(own)}
        classifier = set(names.values()) - body
        with_classifier = body | (classifier if found & classifier else set())
        like = len(found & with_classifier) / len(found | with_classifier)
        if like > likeness:
            best, likeness = (layout, name), like
    return best


def published_networks() -> list[str]:
    """Names of the networks that a layout is known for."""
    return [name for name in NETWORKS if any(name in _published(layout) for layout in LAYOUTS)]


def _published(layout: Layout) -> list[str]:
    """The networks that there are files for in a layout: GoogLeNet's have batch normalisation."""
    family = {name: row.options for name, row in NETWORKS.items() if row.family == layout.family}
    return [
        name
        for name, options in family.items()
        if not options.get("small_images") and (options.get("normalised", True) or layout.family != "googlenet")
    ]
