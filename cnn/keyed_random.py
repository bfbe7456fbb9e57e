"""Random numbers as pure functions of integer keys.

A sample's position in an epoch, its dropout mask and its crop follow from keys such as (seed, epoch, position), never
from a generator's state. They are the same on any worker, and after resuming.

The 32-bit mixer is Chris Wellons's "lowbias32" (hash-prospector, 2018, constants of the 2023 revision); the 64-bit one
is the finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
"""

from typing import Any

import numpy as np

from cnn.tensor import Tensor

_GOLDEN32 = 0x9E3779B9
_GOLDEN64 = 0x9E3779B97F4A7C15


def mix64(values: np.ndarray) -> np.ndarray:
    """Maps uint64 to uint64 bijectively, so that close inputs have unrelated outputs."""
    with np.errstate(over="ignore"):
        x = np.asarray(values, np.uint64) + np.uint64(_GOLDEN64)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def fold64(*parts: int | np.ndarray) -> np.ndarray:
    """Hashes a sequence of non-negative integers (or arrays of them, broadcast) into uint64; order matters."""
    key = np.zeros((), np.uint64)
    for part in parts:
        key = mix64(key ^ mix64(np.asarray(part).astype(np.uint64)))
    return key


def fold32(*parts: int | np.ndarray) -> np.ndarray:
    """Hashes like `fold64` and keeps the upper 32 bits."""
    key = fold64(*parts)
    return (key >> np.uint64(32)).astype(np.uint32)


def hash_tensor(keys: Tensor, units: int, salt: int) -> Tensor:
    """Returns a uint32 for each pair of key and unit, computed on the device.

    Args:
        keys: uint32 tensor of shape (samples,).
        units: random numbers per sample.
        salt: number that distinguishes one use from another, for example a hash of the layer's name.

    Returns:
        uint32 tensor of shape (samples, units).
    """
    import tensorflow as tf  # here, because the order of samples needs only NumPy

    def constant(value: int) -> Tensor:
        return tf.constant(value & 0xFFFFFFFF, tf.uint32)

    def xor_shift(x: Tensor, bits: int) -> Tensor:
        return tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, constant(bits)))

    counters = tf.constant(np.arange(units, dtype=np.uint64) * _GOLDEN32 & 0xFFFFFFFF, tf.uint32)
    salted = xor_shift(tf.bitwise.bitwise_xor(keys, constant(salt)) * constant(0x21F0AAAD), 15)
    x = tf.expand_dims(salted, 1) + tf.expand_dims(counters, 0)
    x = xor_shift(x, 16) * constant(0x21F0AAAD)
    x = xor_shift(x, 15) * constant(0x735A2D97)
    return xor_shift(x, 15)


def uniform_tensor(keys: Tensor, units: int, salt: int, dtype: Any) -> Tensor:
    """Returns a number in [0, 1) for each pair of key and unit: a multiple of 2**-24, equal in float32 and float64.

    Arguments and shape are those of `hash_tensor`; `dtype` is a floating-point type.
    """
    import tensorflow as tf

    bits = tf.bitwise.right_shift(hash_tensor(keys, units, salt), tf.constant(8, tf.uint32))
    return tf.cast(bits, dtype) * tf.constant(2.0**-24, dtype)
