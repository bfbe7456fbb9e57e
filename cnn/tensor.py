"""The type of a tensor, for signatures."""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any
"""A TensorFlow or Keras tensor; neither library has types for type checkers."""
