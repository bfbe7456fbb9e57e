"""Settings of a benchmark."""

import dataclasses
from pathlib import Path
from typing import Literal

from cnn.cluster.exchange.exchange_cost import ExchangeSettings
from cnn.data.feed.augmentation import AugmentationSettings
from cnn.data.feed.feed_settings import FeedSettings
from cnn.data.sources.registry import DataSettings
from cnn.errors import UserError
from cnn.learner.learner_settings import LearnerSettings, StepSettings, learner_settings
from cnn.measuring.measured import read_measured
from cnn.measuring.step_prediction import parse_rate
from cnn.models.registry import ModelSettings
from cnn.optim.optimizers import OptimizerSettings
from cnn.optim.regularisation import RegularisationSettings

_SEED = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkSettings:
    """The benchmark."""

    workers: list[int] = dataclasses.field(default_factory=lambda: [1])
    """The numbers of workers to measure."""

    scaling: Literal["weak", "strong"] = "weak"
    """weak: --batch_size is per worker; strong: it is the total of all workers."""

    batch_size: int = 32
    """Samples per step."""

    benchmark_steps: int = 4
    """Steps per measurement; small networks need a few hundred."""

    repeats: int = 3
    """Measurements of each part, taken in turn; the median is reported."""

    launcher: str = "mpirun --oversubscribe"
    """mpirun or horovodrun, with options of launch/mpirun.sh, to start the workers; for example 'mpirun -H a:4,b:4'."""

    predict: list[int] = dataclasses.field(default_factory=list)
    """Numbers of workers for which to predict the speed from the measurements."""

    link: str = "25gbit"
    """Rate of the predicted workers' links, for example 100mbit or 25gbit."""

    link_latency: float | None = None
    """Latency of an empty message between two predicted workers in microseconds; by default as measured (see --costs),
    or 20."""

    costs: str | None = None
    """File written by --output with several workers, of this network or another, over a link that was not the
    bottleneck; the predictions take the costs of a message and a byte from it. By default they take them from the
    measurement with the largest of --workers."""

    report: str | None = None
    """Folder to write benchmark.json and benchmark.png to."""

    output: str | None = None
    """Measure with the workers already started by a launcher, and write the result to this file."""

    def __post_init__(self) -> None:
        parse_rate(self.link)
        if self.link_latency is not None and not 0 <= self.link_latency < 1e6:
            raise UserError(f"--link_latency {self.link_latency} is not in [0, 1e6): set microseconds, for example 20.")
        if self.costs is not None and read_measured(Path(self.costs)).rates is None:
            raise UserError(f"{self.costs} was measured with one worker, which sends nothing: measure with at least 2.")
        for count in (*self.workers, *self.predict, self.batch_size, self.benchmark_steps, self.repeats):
            if count < 1:
                raise UserError(f"{count} is not a number of workers, samples or steps: set whole numbers above 0.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ControlPathSettings:
    """What surrounds the steps."""

    control_path: float | None = None
    """Measure what surrounds the steps instead of their parts: a run of --benchmark_steps steps, which is then resumed
    and stopped. Its steps wait for this number of seconds instead of computing, so that one machine can run many
    workers."""

    def __post_init__(self) -> None:
        if self.control_path is not None and not 0 <= self.control_path < 3600:
            raise UserError(f"--control_path {self.control_path} is not in [0, 3600): set seconds, for example 0.1.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a benchmark."""

    benchmark: BenchmarkSettings
    control_path: ControlPathSettings
    model: ModelSettings
    data: DataSettings
    feed: FeedSettings
    augmentation: AugmentationSettings
    optimizer: OptimizerSettings
    regularisation: RegularisationSettings
    exchange: ExchangeSettings
    step: StepSettings

    def __post_init__(self) -> None:
        _ = self.learner  # refuses settings that contradict each other
        if self.control_path.control_path is not None and self.step.reproducible:
            raise UserError("--control_path has no steps for --reproducible: leave one of them out.")

    @property
    def learner(self) -> LearnerSettings:
        """The settings that affect a step."""
        return learner_settings(self, self.model, self.step, _SEED)
