"""The result of a benchmark with one number of workers, and its file."""

import dataclasses
import json
import math
from pathlib import Path

from cnn.cluster.exchange.exchange_cost import Rates
from cnn.errors import UserError
from cnn.foreign_folder import read_file
from cnn.from_json import MAX_JSON_BYTES, from_json, parse_json
from cnn.measuring.step_prediction import Layer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """Result with one number of workers. Seconds are per step: the slowest rank's, median over the repeats."""

    workers: int
    global_batch_size: int
    images_per_second: float
    spread: float
    """Maximum minus minimum step time of the repeats, relative to the median."""

    step_seconds: float
    input_seconds: float
    """Making the batch: gather, crop, colours, mixing."""

    compute_seconds: float
    """Forward and backward pass."""

    update_seconds: float
    exchange_seconds: float
    """Time that the exchange adds to the step: its duration minus its overlap with computation."""

    sent_bytes: int
    """Bytes sent per rank and step, computed by formula."""

    peak_bytes: int
    """Peak memory per process, maximum over the ranks."""

    share_of_peak: float
    """Arithmetic rate of convolutions and fully connected layers in a step, relative to one large matrix product."""

    rates: Rates | None
    """Measured rates of collectives without other load; None for one worker."""

    factored: list[str]
    """Kernels exchanged as factors."""

    sharded: list[str]
    """Kernels divided among the ranks."""

    multiply_adds_per_second: float
    """Rate of one large matrix product."""

    layers: list[Layer]
    """The layers with weights."""

    @staticmethod
    def from_json(text: str) -> "Measured":
        """Reads the output of `to_json`; raises ValueError for other texts."""
        measured = from_json(Measured, parse_json(text))
        numbers = [value for value in vars(measured).values() if isinstance(value, int | float)]
        rates = list(vars(measured.rates).values()) if measured.rates else []
        consistent = measured.workers > 1 or (measured.workers == 1 and not rates)
        if not consistent or not all(math.isfinite(each) and each >= 0 for each in numbers + rates) or 0.0 in rates:
            raise ValueError("a number is out of range")
        return measured

    def to_json(self) -> str:
        """Writes all fields as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def check_output(path: Path) -> None:
    """Creates the file if it is missing, and raises UserError if it cannot be written, before anything is measured."""
    try:
        path.open("a").close()
    except OSError as error:
        raise UserError(
            f"--output {path} cannot be written ({error.strerror}): name a file in an existing folder."
        ) from error


def read_measured(path: Path) -> Measured:
    """Reads a file written by --output; raises UserError for any other file."""
    try:
        return Measured.from_json(read_file(path, MAX_JSON_BYTES).decode())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): name a file written by --output.") from error
    except ValueError as error:
        raise UserError(f"{path} was not written by --output of this version: measure again.") from error
