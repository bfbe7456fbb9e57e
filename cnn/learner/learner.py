"""A network and everything that updates its weights, from which steps are made."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.data.order import SampleOrder
from cnn.learner.learner_settings import LearnerSettings

if TYPE_CHECKING:
    import keras

    from cnn.cluster.exchange.exchange import Exchange
    from cnn.cluster.exchange.ordered_exchange import OrderedExchange
    from cnn.cluster.exchange.sharded_kernels import ShardedKernels
    from cnn.data.feed.feed import Feed
    from cnn.learner.exchange_selection import ChosenExchange
    from cnn.learner.loss_scale import LossScale
    from cnn.learner.step import TrainingStep
    from cnn.learner.step_memory import StepMemory
    from cnn.optim.averaging import WeightAverage


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learner:
    """A network and everything that updates its weights."""

    settings: LearnerSettings
    order: SampleOrder
    model: "keras.Model"
    optimizer: "keras.optimizers.Optimizer"
    average: "WeightAverage | None"
    loss_scale: "LossScale | None"
    variables: dict[str, Any]
    """The state of all these objects, by name: Keras variables, and a `RowSlice` where each rank holds some rows. The
    network's own kernels of which each rank trains some rows are up to date only after `sharded.gather`."""

    feed: "Feed"
    exchange: "ChosenExchange"

    class_weights: np.ndarray | None
    """Factors of the samples' losses, floating (classes,); None if all are 1."""

    threads: int
    """The number of threads that this rank computes with."""

    def make_step(
        self,
        *,
        exchange: "Exchange | OrderedExchange | None" = None,
        optimizer: Any = None,
        timed: bool = False,
        step_class: "Callable[..., TrainingStep] | None" = None,
    ) -> "TrainingStep":
        """Makes the training step, optionally with another exchange or optimizer, timed on each rank, or of another
        class."""
        from cnn.cluster.exchange.ordered_exchange import OrderedExchange
        from cnn.learner.reproducible_step import ReproducibleStep
        from cnn.learner.step import TrainingStep

        exchange = exchange or self.exchange.exchange
        order, parts = self.order, (self.model, optimizer or self.optimizer, self.feed)
        options: dict[str, Any] = {
            "group_size": order.group_size,
            "micro_batch_size": order.micro_batch_size,
            "class_weights": self.class_weights,
            "average": self.average,
            "loss_scale": self.loss_scale,
            "xla": self.settings.step.xla,
            "timed": timed and not self.settings.step.uses_deterministic_kernels,  # TensorFlow refuses timestamps then
        }
        if step_class is not None:
            return step_class(*parts, exchange, self.settings.regularisation, **options)
        if isinstance(exchange, OrderedExchange):
            return ReproducibleStep(
                *parts, exchange, self.settings.regularisation, groups_at_once=self._groups_at_once, **options
            )
        return TrainingStep(*parts, exchange, self.settings.regularisation, **options)

    @property
    def _groups_at_once(self) -> int:
        """The number of groups that the threads may compute at the same time within the limit of a micro-batch."""
        samples = self.order.micro_batch_size
        return self.threads if samples is None else min(self.threads, samples // self.order.group_size)

    def predict_memory(self, step: "TrainingStep", world_size: int) -> "StepMemory":
        """Predicts the memory of a step, which is traced unless it has run, but not run.

        Args:
            step: the step, from `make_step`.
            world_size: the number of workers.
        """
        from cnn.learner.step_memory import predict_memory

        state = {name: getattr(variable, "rows", variable) for name, variable in self.variables.items()}
        others = [variable for name, variable in state.items() if not name.startswith("model/")]
        weights = [*self.model.variables, *(kernel.rows for kernel in self.sharded.values())]
        return predict_memory(step.trace(self.order.width(world_size)), weights, others, self.feed.resident_bytes)

    @property
    def sharded(self) -> "ShardedKernels":
        """The kernels that are divided among the ranks."""
        return self.exchange.exchange.sharded

    def divide(self, arrays: Mapping[str, np.ndarray] | None) -> None:
        """Gives every rank its rows of what is divided; every rank calls it when all have the same network.

        Args:
            arrays: on rank 0, what was restored, by name; empty on other ranks. None on all ranks if nothing was
                restored, so that the average of the weights begins with these.
        """
        from cnn.learner.state import divided

        self.sharded.cut()
        for name, variable in divided(self.variables).items():
            if arrays is not None:
                variable.scatter(arrays.get(name))
            elif name.startswith("average/"):
                variable.assign(self.variables[f"model/{name.removeprefix('average/')}"].value)
