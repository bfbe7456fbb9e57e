"""A network layer by layer: sizes, parameters, arithmetic and memory."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras

from cnn.models.blocks import output_size
from cnn.models.group_batch_normalization import GroupBatchNormalization


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer, for one image."""

    name: str
    layer_type: str
    output_shape: tuple[int, ...]
    parameters: int
    """Number of trainable parameters."""

    multiply_adds: int
    """Multiply-adds of the forward pass of a convolution or fully connected layer; 0 for other layers."""

    @property
    def outputs(self) -> int:
        """Number of output values."""
        return math.prod(self.output_shape)


def layer_rows(model: keras.Model) -> list[LayerRow]:
    """The rows of all layers, in the order in which the layers were created."""
    return [
        LayerRow(
            name=layer.name,
            layer_type=type(layer).__name__,
            output_shape=tuple(layer.output.shape[1:]),
            parameters=sum(math.prod(variable.shape) for variable in layer.trainable_variables),
            multiply_adds=_multiply_adds(layer),
        )
        for layer in model.layers
    ]


def _multiply_adds(layer: Any) -> int:
    if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
        return int(math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape))
    if isinstance(layer, keras.layers.Dense):
        return int(math.prod(layer.kernel.shape))
    if layer.weights and not isinstance(layer, GroupBatchNormalization):
        raise TypeError(f"{layer.name} is a {type(layer).__name__}, whose multiply-adds are unknown: count them here")
    return 0


def layer_table(rows: Sequence[LayerRow]) -> str:
    """The rows as text, with their totals."""
    lines = [f"{'layer':<28} {'type':<28} {'output':<16} {'parameters':>12} {'multiply-adds':>15}"]
    for row in rows:
        shape = "x".join(map(str, row.output_shape))
        lines.append(f"{row.name:<28} {row.layer_type:<28} {shape:<16} {row.parameters:>12,} {row.multiply_adds:>15,}")
    parameters, multiply_adds, outputs = (
        sum(getattr(row, field) for row in rows) for field in ("parameters", "multiply_adds", "outputs")
    )
    lines.append(f"{'total':<74} {parameters:>12,} {multiply_adds:>15,}")
    megabytes_with_gradient = 4 * 2 / 1e6  # per number
    lines.append(
        f"float32 memory: weights and gradients {parameters * megabytes_with_gradient:,.1f} MB, "
        f"outputs and their gradients {outputs * megabytes_with_gradient:,.2f} MB per image"
    )
    return "\n".join(lines)


def output_size_table(size: int = 28, kernel: int = 5, strides: Sequence[int] = (1, 2, 3, 4)) -> str:
    """A convolution's output sizes for its kernel, several strides and both kinds of padding, as text."""
    lines = [
        "output size: O = 1 + (W - K + 2P) / S, rounded down; W image, K kernel, P padding on each side, S stride",
        '"valid": P = 0; "same": TensorFlow pads so that O = W / S, rounded up',
        f"images of {size}x{size}, kernel {kernel}x{kernel}:",
        "stride  same     valid",
    ]
    for stride in strides:
        same, valid = (output_size(size, kernel, stride, padding) for padding in ("same", "valid"))
        lines.append(f"{stride:<7} {f'{same}x{same}':<8} {valid}x{valid}")
    return "\n".join(lines)
