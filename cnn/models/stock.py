"""Converts a network to Keras's own layers, so that it can be loaded without this package."""

from typing import Any

import keras
import numpy as np

from cnn.models.conv2d import Conv2D
from cnn.models.dense import Dense
from cnn.models.depthwise_conv2d import DepthwiseConv2D
from cnn.models.group_batch_normalization import GroupBatchNormalization
from cnn.models.layers import (
    Dropout,
    HalvingAveragePooling2D,
    LocalResponseNormalization,
)


def stock_network(network: keras.Model) -> keras.Model:
    """Copies a network with its weights; of several outputs, the copy has only the first, the logits.

    Training the copy has other results, as it normalises over the complete batch and has Keras's dropout.
    """
    network = keras.Model(network.input, network.outputs[0], name=network.name)
    copy = keras.models.clone_model(network, clone_function=stock_layer)
    for layer in network.layers:
        if layer.weights:
            copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


def stock_layer(layer: Any) -> Any:
    """Converts a layer, without its weights.

    Raises:
        TypeError: it is a layer of this package that has no counterpart here.
    """
    layers, common_arguments = keras.layers, {"name": layer.name, "dtype": layer.dtype_policy}
    if isinstance(layer, Dropout):
        return layers.Dropout(layer.rate, **common_arguments)
    if isinstance(layer, GroupBatchNormalization):
        return layers.BatchNormalization(momentum=layer.momentum, epsilon=layer.epsilon, **common_arguments)
    if isinstance(layer, Conv2D):
        return layers.Conv2D.from_config(layer.get_config())
    if isinstance(layer, DepthwiseConv2D):
        return layers.DepthwiseConv2D.from_config(layer.get_config())
    if isinstance(layer, Dense):
        return layers.Dense.from_config(layer.get_config())
    if isinstance(layer, HalvingAveragePooling2D):
        return layers.AveragePooling2D(2, **common_arguments)
    if isinstance(layer, LocalResponseNormalization):
        return _local_response_normalization(layer)
    if type(layer).__module__.startswith("cnn."):
        raise TypeError(f"the layer {layer.name} is a {type(layer).__name__}, which has no counterpart in {__name__}")
    return layer.__class__.from_config(layer.get_config())


def _local_response_normalization(layer: LocalResponseNormalization) -> keras.Model:
    """The same function: a convolution with a band matrix computes the sum, Keras's operations the power -0.75."""
    maps = keras.Input(layer.output.shape[1:], dtype=layer.variable_dtype, name="maps")
    channels = maps.shape[-1]
    positions = np.arange(channels)
    band = layer.alpha * (np.abs(positions[:, None] - positions) <= layer.radius)
    convolve = keras.layers.Conv2D(channels, 1, name="neighbours", trainable=False, dtype=layer.variable_dtype)
    root = keras.ops.rsqrt(convolve(keras.ops.square(maps)))
    convolve.set_weights([band[None, None], np.full(channels, layer.k)])
    return keras.Model(maps, maps * root * keras.ops.sqrt(root), name=layer.name)
