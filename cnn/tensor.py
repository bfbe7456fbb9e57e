"""The type of a tensor, for signatures."""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any
"""A TensorFlow or Keras tensor. Neither library has types that a type checker could use."""
