"""Layers that training leaves as they are."""

import fnmatch
from typing import TYPE_CHECKING, Any

from cnn.errors import UserError
from cnn.suggestions import did_you_mean

if TYPE_CHECKING:
    import keras


def freeze_layers(model: "keras.Model", patterns: str) -> None:
    """Freezes layers: their weights and moving statistics stay, and batch normalisation computes as in evaluation.

    The batch normalisation after a frozen convolution is frozen, too.

    Args:
        model: a new network.
        patterns: names of layers with commas between them, in which * stands for any letters, ? for one, and [12] for
            one of those listed.

    Raises:
        UserError: a pattern fits no layer with weights, or no layer is left that learns.
    """
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    frozen: set[str] = set()
    for pattern in patterns.split(","):
        found = fnmatch.filter(layers, pattern.strip())
        if not found:
            raise UserError(
                f"--freeze {pattern.strip()} fits no layer of {model.name} with weights"
                f"{did_you_mean(pattern, layers) or ': jobs/summarize.py lists its layers.'}"
            )
        frozen |= {*found, *(f"{name}_bn" for name in found)}
    for name in frozen & layers.keys():
        layers[name].trainable = False
    if not model.trainable_variables:
        raise UserError(f"--freeze {patterns} freezes all layers of {model.name}: leave out those that shall learn.")


def changing_variables(model: "keras.Model") -> list[Any]:
    """The variables that a training step changes: the trainable ones, then the moving statistics of `statistics_of`."""
    return [*model.trainable_variables, *statistics_of(model)]


def statistics_of(model: "keras.Model") -> list[Any]:
    """The moving statistics of the layers that are not frozen."""
    return [
        variable
        for layer in model._flatten_layers(include_self=False)
        if layer.trainable
        for variable in layer.non_trainable_variables
    ]
