"""Published weights in the names, order and shapes of this package's networks."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from cnn.errors import UserError
from cnn.models.published_layouts import Layout, is_of_classifier, published_networks, recognise
from cnn.models.registry import NETWORKS
from cnn.models.weight_file import WeightFile, open_weight_file

_MAX_NAMED = 5
"""Layers that an error lists."""

_KERAS_KINDS = {"kernel": 0, "bias": 1, "gamma": 0, "beta": 1, "moving_mean": 2, "moving_variance": 3}
_TORCH_KINDS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}

_COUNT = ".num_batches_tracked"
"""What PyTorch's normalisations store besides their weights and statistics."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """What a file holds for a network."""

    layout: Layout
    values: dict[str, np.ndarray]
    """Values by the paths of the network's variables."""

    new: tuple[str, ...]
    """Layers that the file has nothing for, all of the classifier."""


class _Form(NamedTuple):
    """A way in which an array can be stored."""

    shape: tuple[int, ...]
    convert: Callable[[np.ndarray], np.ndarray]
    """From that shape to the variable's."""


def layout_of(path: Path) -> tuple[Layout, str]:
    """The layout of a file, and the name of the network that its layers are most like.

    Raises:
        UserError: the file cannot be read, or its layers are like those of no network.
    """
    with open_weight_file(path) as file:
        return _recognised(path, file)


def read_published(path: Path, name: str, network: keras.Model) -> PublishedWeights:
    """Reads a file of published weights for a network.

    Where a convolution before a normalisation has a bias in the file, which ours has not, the moving mean is less by
    it, which is the same. If a hidden layer of the classifier does not fit, because there is none in the file or it is
    for other sizes of images, the layers that follow it are new as well.

    Args:
        path: the file.
        name: the network's name in NETWORKS.
        network: the network.

    Raises:
        UserError: the file cannot be read, is for another network (the error names the layers that do not fit), or
            holds numbers that no network computes with.
    """
    with open_weight_file(path) as file:
        layout, likest = _recognised(path, file)
        if name.removesuffix("-32") != likest:
            raise UserError(_is_of_another(path, layout, likest, name, file))
        names = layout.layers(NETWORKS[name].options)
        sources = _sources(layout, names, network, file)
        unfit = dict.fromkeys(_layer(path) for path, source in sources.items() if source is None)
        wrong = [layer for layer in unfit if not is_of_classifier(layer)]
        if wrong:
            raise UserError(f"--initialize_from {path} does not fit {name}: {_misfits(wrong, names, network, file)}.")
        surplus = _surplus(layout, names, likest, network, file)
        if surplus:
            raise UserError(
                f"--initialize_from {path} does not fit {name}: it also has {_listed(surplus)}, which that network has "
                "not; name a file of the network without additions."
            )
        if any(layer.startswith("fc") for layer in unfit):
            unfit |= dict.fromkeys(layer for layer in map(_layer, sources) if layer.startswith(("fc", "logits")))
        fitting = {path: source for path, source in sources.items() if source and _layer(path) not in unfit}
        values = {path: _value(file, *source) for path, source in fitting.items()}
        for variable, (theirs, _) in fitting.items():
            if variable.endswith("/moving_variance") and values[variable].min() < 0:
                raise ValueError(f"{theirs} holds variances below 0")
        _absorb_biases(layout, names, file, values)
    if layout.reversed_channels:
        first = next(path for path in values if path.endswith("/kernel"))
        values[first] = values[first][:, :, ::-1]
    return PublishedWeights(layout=layout, values=values, new=tuple(unfit))


def _recognised(path: Path, file: WeightFile) -> tuple[Layout, str]:
    layers = file.layers
    found = recognise(path.suffix, layers)
    if found is None:
        raise UserError(
            f"{path} holds the weights of no network that is known here: its layers are {_listed(layers) or 'none'}; "
            f"published weights can be used for {', '.join(published_networks())}."
        )
    return found


def _layer(path: str) -> str:
    return path.rpartition("/")[0]


def _listed(layers: list[str]) -> str:
    more = f" and {len(layers) - _MAX_NAMED} more" if len(layers) > _MAX_NAMED else ""
    return ", ".join(layers[:_MAX_NAMED]) + more


def _is_of_another(path: Path, layout: Layout, likest: str, name: str, file: WeightFile) -> str:
    here = f"--model {name}"
    if NETWORKS[name].family == layout.family:
        names = layout.layers(NETWORKS[name].options)
        missing = [theirs for own, theirs in names.items() if theirs not in file.layers and not is_of_classifier(own)]
        surplus = [each for each in file.layers if each not in names.values()]
        parts = [f"{_listed(missing)} missing"] * bool(missing) + [f"{_listed(surplus)} too many"] * bool(surplus)
        here += f" ({', '.join(parts)})" if parts else ""
    return (
        f"--initialize_from {path} has the layers of {likest}, by {layout.library}'s names, not those of {here}: give "
        f"--model {likest}, or a file of {name}."
    )


def _misfits(wrong: list[str], names: Mapping[str, str], network: keras.Model, file: WeightFile) -> str:
    """Names the layers, and says of the first what is wrong with it."""
    layer = wrong[0]
    prefixes = f"{names[layer]}/", f"{names[layer]}."
    stored = [_in_our_order(name, shape) for name, shape in file.shapes.items() if name.startswith(prefixes)]
    own = [tuple(variable.shape) for variable in network.variables if _layer(variable.path) == layer]
    texts = [", ".join("x".join(map(str, shape)) or "a number" for shape in each) for each in (own, stored)]
    return (
        f"these layers are missing in the file, or have other shapes there: {_listed(wrong)} ({layer}: {texts[0]} "
        f"here, {texts[1] or 'nothing'} in the file)"
    )


def _in_our_order(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    is_kernel_of_torch = name.endswith(".weight") and len(shape) == 4
    return (*shape[2:], shape[1], shape[0]) if is_kernel_of_torch else shape


def _sources(
    layout: Layout, names: Mapping[str, str], network: keras.Model, file: WeightFile
) -> dict[str, tuple[str, _Form] | None]:
    """For each variable the array in the file and the form it is stored in; None if it does not fit."""
    found: dict[str, tuple[str, _Form] | None] = {}
    for variable in network.variables:
        layer, _, kind = variable.path.rpartition("/")
        theirs = _array_name(layout, names[layer], kind) if layer in names else ""
        stored = file.shapes.get(theirs)
        forms = _forms(layout, network.get_layer(layer), tuple(variable.shape), kind)
        found[variable.path] = next(((theirs, form) for form in forms if form.shape == stored), None)
    return found


def _array_name(layout: Layout, layer: str, kind: str) -> str:
    kinds: Mapping[str, Any] = _KERAS_KINDS if layout.suffix == ".h5" else _TORCH_KINDS
    return f"{layer}{_separator(layout)}{kinds[kind]}"


def _separator(layout: Layout) -> str:
    return "/" if layout.suffix == ".h5" else "."


def _forms(layout: Layout, layer: Any, shape: tuple[int, ...], kind: str) -> Iterator[_Form]:
    """The ways in which a layout may store a variable: PyTorch's have the outputs first and the channels before rows
    and columns, also where maps have been flattened."""
    if kind != "kernel" or layout.suffix == ".h5":
        yield _Form(shape, lambda array: array)
    elif len(shape) == 4:
        height, width, inputs, outputs = shape
        yield _Form((outputs, inputs, height, width), lambda array: array.transpose(2, 3, 1, 0))
    else:
        inputs, outputs = shape
        height, width, channels = _flattened(layer) or (1, 1, inputs)
        maps = (outputs, channels, height, width)

        def convert(array: np.ndarray) -> np.ndarray:
            return array.reshape(maps).transpose(2, 3, 1, 0).reshape(shape)

        yield _Form((outputs, inputs), convert)
        yield _Form(maps, convert)


def _flattened(layer: Any) -> tuple[int, int, int] | None:
    """The shape of the maps that a fully connected layer sees in one row; None if it sees none."""
    previous = layer.input._keras_history.operation
    return tuple(previous.input.shape[1:]) if isinstance(previous, keras.layers.Flatten) else None


def _surplus(
    layout: Layout, names: Mapping[str, str], likest: str, network: keras.Model, file: WeightFile
) -> list[str]:
    """What the file has and the network has not: layers, or else arrays of its layers. The network may be a variant
    without a layer of the classifier."""
    usual = layout.layers(NETWORKS[likest].options)
    known = {*names.values(), *(theirs for own, theirs in usual.items() if is_of_classifier(own))}
    layers = [layer for layer in file.layers if layer not in known]
    expected = {
        _array_name(layout, names[layer.name], kind)
        for layer in network.layers
        if layer.name in names
        for kind in ("bias", *(variable.name for variable in layer.variables))
    }
    present = {name.rpartition(_separator(layout))[0] for name in expected}
    arrays = [
        name
        for name in file.shapes
        if name.rpartition(_separator(layout))[0] in present and name not in expected and not name.endswith(_COUNT)
    ]
    return layers or arrays


def _value(file: WeightFile, name: str, form: _Form) -> np.ndarray:
    """Reads an array, as float32 unless it is more exact."""
    array = file.read(name)
    if array.dtype.itemsize < 4:
        array = array.astype(np.float32)
    limit = np.finfo(np.float32).max
    if not (-limit <= array.min(initial=0) and array.max(initial=0) <= limit):  # nor if one is NaN
        raise ValueError(f"{name} holds numbers that are not finite in float32")
    return np.ascontiguousarray(form.convert(array))


def _absorb_biases(layout: Layout, names: Mapping[str, str], file: WeightFile, values: dict[str, np.ndarray]) -> None:
    """Subtracts from moving means the biases of the convolutions before them."""
    for path, value in values.items():
        layer, _, kind = path.rpartition("/")
        bias = _array_name(layout, names[layer.removesuffix("_bn")], "bias")
        if kind == "moving_mean" and file.shapes.get(bias) == value.shape:
            values[path] = value - _value(file, bias, _Form(value.shape, lambda array: array))
