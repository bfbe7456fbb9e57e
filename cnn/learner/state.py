"""The state that a run holds in variables, by name, as a checkpoint saves it and a resumed run restores it."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cnn.cluster.exchange.row_slice import RowSlice
from cnn.cluster.exchange.sharded_kernels import NOT_SHARDED, ShardedKernels
from cnn.errors import UserError
from cnn.learner.loss_scale import LossScale
from cnn.optim.averaging import WeightAverage


def state_variables(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    *others: WeightAverage | LossScale | None,
    sharded: ShardedKernels = NOT_SHARDED,
) -> dict[str, Any]:
    """Keras variables by name; a `RowSlice` where each rank holds some rows of a kernel's slot or average.

    The network's variables are named model/..., the optimizer's (slots, step count) optimizer/...; the weight average
    and the loss scale, if present, name their variables themselves.
    """
    named: dict[str, Any] = {f"model/{variable.path}": variable for variable in model.variables}
    for variable in optimizer.variables:
        named[f"optimizer/{variable.path}"] = _whole_slot(variable, optimizer, sharded)
    if len(named) != len(model.variables) + len(optimizer.variables):
        raise ValueError("two variables have one name")
    for other in others:
        named |= {} if other is None else other.variables
    return named


def _whole_slot(
    variable: keras.Variable, optimizer: keras.optimizers.Optimizer, sharded: ShardedKernels
) -> keras.Variable | RowSlice:
    """An optimizer's variable; if it is the slot of a divided kernel's rows, the whole slot."""
    for path, kernel in sharded.items():
        is_slot = variable.path.startswith(f"{optimizer.name}/{path.replace('/', '_')}_")
        if is_slot and variable.shape == kernel.rows.shape:
            return kernel.slice_of(variable)
    return variable


def divided(variables: Mapping[str, Any]) -> dict[str, RowSlice]:
    """Those of the variables that are divided among the ranks."""
    return {name: variable for name, variable in variables.items() if isinstance(variable, RowSlice)}


def state_bytes(variables: Mapping[str, Any]) -> int:
    """The bytes of the variables' values: those of a checkpoint, which holds little else."""
    return sum(math.prod(each.shape) * np.dtype(each.dtype).itemsize for each in variables.values())


def read_state(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The variables' values, read-only; every rank calls it if one is a `RowSlice`.

    On a CPU they share the variables' memory: while they are held, TensorFlow updates the variables in new memory,
    which takes time to allocate.
    """
    return {
        name: np.asarray(variable.whole() if isinstance(variable, RowSlice) else tf.convert_to_tensor(variable.value))
        for name, variable in variables.items()
    }


def restore_state(variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray], source: str) -> None:
    """Sets every variable; UserError, naming the first that does not fit, when the arrays are from another network."""
    for name in sorted(set(variables) ^ set(arrays)):
        verb = "has" if name in arrays else "lacks"
        raise UserError(f"{source} is from another network or optimizer: it {verb} {name}.")
    for name, variable in variables.items():
        array = arrays[name]
        if not fits(variable, array):
            stored, expected = f"the shape {array.shape}", f"{tuple(variable.shape)}"
            if array.shape == tuple(variable.shape):
                stored, expected = f"the type {array.dtype}", f"{variable.dtype}"
            raise UserError(f"{source} is from another network: {name} has {stored} instead of {expected}.")
    for name, variable in variables.items():
        variable.assign(arrays[name].astype(variable.dtype, copy=False))


def fits(variable: Any, array: np.ndarray) -> bool:
    """Whether an array can be assigned to a variable: same shape and same kind of numbers (float, integer, ...)."""
    return tuple(variable.shape) == array.shape and np.dtype(variable.dtype).kind == array.dtype.kind
