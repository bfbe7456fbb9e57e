"""What a benchmark measures with one number of workers, and the file of it."""

import dataclasses
import json
import math
from pathlib import Path

from cnn.cluster.exchange_cost import Rates
from cnn.errors import UserError
from cnn.foreign_folder import read_file
from cnn.from_json import LARGEST, from_json, parse_json
from cnn.measuring.step_prediction import Layer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """One number of workers; seconds are of a step, medians over the repeats of the slowest rank."""

    workers: int
    global_batch_size: int
    images_per_second: float
    spread: float
    """Largest less smallest of the repeats, as part of the median."""

    step_seconds: float
    input_seconds: float
    """Making the batch: gather, crop, colours, mixing."""

    compute_seconds: float
    """Forward and backward."""

    update_seconds: float
    exchange_seconds: float
    """What the exchange adds to the step: what it takes less what it hides behind computing."""

    sent_bytes: int
    """By each rank in a step, by formula."""

    peak_bytes: int
    """Memory of the process that has most."""

    share_of_peak: float
    """Arithmetic of convolutions and fully connected layers in a step, over what one large product reaches."""

    rates: Rates | None
    """What messages between the ranks reach with nothing else to do; None for one worker."""

    factored: list[str]
    """Kernels exchanged as factors."""

    multiply_adds_per_second: float
    """Of one large product."""

    layers: list[Layer]
    """Those with weights."""

    @staticmethod
    def from_json(text: str) -> "Measured":
        """Reads what `to_json` wrote; ValueError for other texts."""
        measured = from_json(Measured, parse_json(text))
        numbers = [value for value in vars(measured).values() if isinstance(value, int | float)]
        rates = list(vars(measured.rates).values()) if measured.rates else []
        sound = measured.workers > 1 or (measured.workers == 1 and not rates)
        if not sound or not all(math.isfinite(each) and each >= 0 for each in numbers + rates) or 0.0 in rates:
            raise ValueError("a number cannot be one that was measured")
        return measured

    def to_json(self) -> str:
        """All fields, as text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def check_output(path: Path) -> None:
    """Makes an empty file where there is none, so that nothing is measured in vain; UserError when that cannot be."""
    try:
        path.open("a").close()
    except OSError as error:
        raise UserError(
            f"--output {path} cannot be written ({error.strerror}): name a file in a folder that is there."
        ) from error


def read_measured(path: Path) -> Measured:
    """Reads a file of --output; UserError when it is none."""
    try:
        return Measured.from_json(read_file(path, LARGEST).decode())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): name a file that --output has written.") from error
    except ValueError as error:
        raise UserError(f"{path} is not what --output writes: measure again with this version.") from error
