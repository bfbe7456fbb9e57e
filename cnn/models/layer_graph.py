"""A network as a graph of its layers."""

from collections.abc import Sequence
from typing import NamedTuple

import keras


class LayerNode(NamedTuple):
    """One layer, as a node of the graph."""

    name: str
    layer_type: str
    inputs: Sequence[str]
    """Names of the layers whose outputs it takes."""

    output_shape: tuple[int, ...]
    """For one image."""


def layer_graph(model: keras.Model) -> list[LayerNode]:
    """The nodes of all layers of a network, each of which is called once."""
    return [
        LayerNode(
            layer.name,
            type(layer).__name__,
            # Keras has no public name for it; its own drawing of models uses the same.
            [tensor._keras_history.operation.name for tensor in layer._inbound_nodes[0].input_tensors],
            tuple(layer.output.shape[1:]),
        )
        for layer in model.layers
    ]
