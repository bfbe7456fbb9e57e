"""Checks of a checkpoint's record: it may only hold what a run can have written."""

from typing import Any

from cnn.cluster.exchange.exchange_cost import Rates
from cnn.errors import UserError
from cnn.from_json import from_json
from cnn.runs.checkpoints import Checkpoint
from cnn.runs.loop_state import LoopState

_MAX_LATENCY, _MAX_RATE = 1e6, 1e18
"""Upper limits of a message's latency (s) and of rates (1/s): no machine is so slow or so fast."""


def check_record(checkpoint: Checkpoint) -> None:
    """Raises UserError when a checkpoint's record cannot be a run's."""
    try:
        LoopState.from_record(checkpoint.record.get("progress"))
    except ValueError as error:
        raise UserError(_not_saved_by_run(f"the checkpoint {checkpoint.path}", error)) from error
    check_exchange(checkpoint.record.get("exchange"), f"the checkpoint {checkpoint.path}")


def check_exchange(exchange: Any, where: str) -> None:
    """Raises UserError when the record of an exchange cannot be a run's."""
    try:
        if not isinstance(exchange, dict | None):
            raise ValueError("its record of the exchange is not an object")
        if exchange and "rates" in exchange:
            rates = from_json(Rates, exchange["rates"])
            speeds = (rates.sent_per_second, rates.gathered_per_second, rates.multiply_adds_per_second)
            if not (0 <= rates.latency < _MAX_LATENCY and all(1 <= speed < _MAX_RATE for speed in speeds)):
                raise ValueError("a rate in it cannot have been measured")
    except ValueError as error:
        raise UserError(_not_saved_by_run(where, error)) from error


def _not_saved_by_run(where: str, error: ValueError) -> str:
    return f"{where} was not saved by a run ({error}); remove it, or choose another --run_dir to start again."
