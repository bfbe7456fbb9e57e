"""What a checkpoint's record holds besides the state, and what no run can have written there."""

from typing import Any

from cnn.cluster.exchange_cost import Rates
from cnn.errors import UserError
from cnn.from_json import from_json
from cnn.runs.checkpoints import Checkpoint
from cnn.runs.run_progress import Progress

_SLOWEST, _FASTEST = 1e6, 1e18
"""Seconds of a message, and what happens in a second: no machine is so slow or so fast."""


def check_record(checkpoint: Checkpoint) -> None:
    """Raises UserError for a checkpoint's record that no run has written."""
    try:
        Progress.from_record(checkpoint.record.get("progress"))
    except ValueError as error:
        raise UserError(_foreign(f"the checkpoint {checkpoint.path}", error)) from error
    check_exchange(checkpoint.record.get("exchange"), f"the checkpoint {checkpoint.path}")


def check_exchange(exchange: Any, where: str) -> None:
    """Raises UserError for a record of an exchange that no run has written."""
    try:
        if not isinstance(exchange, dict | None):
            raise ValueError("the exchange is none")
        if exchange and "rates" in exchange:
            rates = from_json(Rates, exchange["rates"])
            reached = (rates.sent_per_second, rates.gathered_per_second, rates.multiply_adds_per_second)
            if not (0 <= rates.latency < _SLOWEST and all(1 <= rate < _FASTEST for rate in reached)):
                raise ValueError("a rate in it cannot be one that was measured")
    except ValueError as error:
        raise UserError(_foreign(where, error)) from error


def _foreign(where: str, error: ValueError) -> str:
    return f"{where} holds what no run has saved ({error}); remove it, or choose another --run_dir to start anew."
