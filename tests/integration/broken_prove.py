"""jobs/prove.py whose workers train wrongly in one way, which the environment variable CNN_BREAK names."""

import cnn  # noqa: F401  # first, as in every program

# isort: split
import dataclasses
import os

import numpy as np

from cnn.cluster.exchange import sum_tree
from cnn.cluster.ranks.run_job import run_job
from cnn.data.order import Plan, SampleOrder
from cnn.launching.own_job import is_relaunched
from cnn.learner.learner import Learner
from cnn.models import bias
from jobs import prove

_plan = SampleOrder.plan


def no_exchange() -> None:
    """Each rank trains by itself."""
    from cnn.cluster.exchange.exchange import LocalExchange

    make_step = Learner.make_step
    Learner.make_step = lambda self: make_step(self, exchange=LocalExchange())  # type: ignore[method-assign]


def foreign_sample() -> None:
    """Every rank but the first takes one sample of its neighbour's."""

    def plan(self: SampleOrder, first_step: int, steps: int, rank: int, world_size: int) -> Plan:
        made = _plan(self, first_step, steps, rank, world_size)
        if rank:
            made.indices[:, 0] = _plan(self, first_step, steps, rank - 1, world_size).indices[:, 0]
        return made

    SampleOrder.plan = plan  # type: ignore[method-assign]


def keys_of_rank() -> None:
    """Dropout depends on the rank."""

    def plan(self: SampleOrder, first_step: int, steps: int, rank: int, world_size: int) -> Plan:
        made = _plan(self, first_step, steps, rank, world_size)
        return dataclasses.replace(made, keys=made.keys ^ np.uint32(rank))

    SampleOrder.plan = plan  # type: ignore[method-assign]


def inexact_bias() -> None:
    """Gradients of biases are summed in bfloat16."""
    bias.has_inexact_sums = lambda _: False


def sums_of_rank() -> None:
    """Each rank adds up all of its groups before the ranks' sums are added."""

    def nodes_of_run(first: int, last: int) -> tuple[list[tuple[int, int]], list[int]]:
        groups = last - first
        return [(0, first)][:groups], [0, *[1] * groups][:groups]

    sum_tree._nodes_of_run = nodes_of_run


BREAKS = {each.__name__: each for each in (no_exchange, foreign_sample, keys_of_rank, inexact_bias, sums_of_rank)}

if __name__ == "__main__":
    BREAKS[os.environ["CNN_BREAK"]]()
    if is_relaunched():
        run_job(prove.parse, prove.body, lambda settings: settings.proof.bits)
    prove.main()
