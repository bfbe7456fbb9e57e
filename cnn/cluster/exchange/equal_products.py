"""Checks that all ranks compute bit-identical matrix products, which the exchange of factors requires.

Every rank multiplies the gathered factors itself. The order of summation depends on the processor's instruction set,
the GPU model and the number of threads: where these differ, the last digits differ, and the weights would diverge
between ranks.
"""

import zlib
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from cnn.cluster.exchange.exchange import product
from cnn.cluster.exchange.exchange_cost import Kernel
from cnn.cluster.ranks.collectives import Cluster
from cnn.keyed_random import fold32


def first_differing_rank(cluster: Cluster, kernels: Iterable[Kernel], samples: int, dtype: str) -> int | None:
    """Multiplies factors of the kernels' shapes on every rank; collective: every rank calls it.

    Args:
        cluster: the workers.
        kernels: the kernels to be exchanged as factors.
        samples: samples per step of all ranks together.
        dtype: the accumulation type of the products.

    Returns:
        The first rank whose products differ from rank 0's; None if all are equal. The same on every rank.
    """
    if cluster.is_planned:
        return None
    shapes = sorted({(kernel.inputs, kernel.outputs) for kernel in kernels})
    by_rank = cluster.gather([_checksum(samples, *shape, dtype) for shape in shapes])
    return next((rank for rank, theirs in enumerate(by_rank) if theirs != by_rank[0]), None)


def _checksum(samples: int, inputs: int, outputs: int, dtype: str) -> int:
    x, dy = (tf.constant(_factor(samples, width), dtype) for width in (inputs, outputs))
    compiled = tf.function(product, autograph=False)  # as in the training step
    return zlib.crc32(compiled(x, dy, dtype).numpy().reshape(-1).view(np.uint8).data)


def _factor(samples: int, width: int) -> np.ndarray:
    """Pseudo-random numbers from -0.5 to 0.5 (samples, width), the same on every machine."""
    return fold32(samples, width, np.arange(samples * width)).reshape(samples, width) * 2.0**-32 - 0.5
