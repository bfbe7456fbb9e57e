"""Optimizers whose learning rate for a network's classification layers is another than for its other layers."""

from typing import Any

from cnn.tensor import Tensor


def with_head_rate(optimizer_class: type[Any], factor: float) -> type[Any]:
    """A subclass of an optimizer that multiplies the learning rate of the classification layers by a factor.

    Classification layers are those whose names end in `logits`. Weight decay is by the rate of the other layers.
    """

    class WithHeadRate(optimizer_class):
        def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
            """Updates one TensorFlow variable."""
            path = self._trainable_variables[self._get_variable_index(variable)].path
            is_of_head = path.rpartition("/")[0].endswith("logits")
            super().update_step(gradient, variable, learning_rate * factor if is_of_head else learning_rate)

    return WithHeadRate
