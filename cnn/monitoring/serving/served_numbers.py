"""The numbers of a run that Prometheus reads, by their names there."""

import math
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, ProcessCollector, disable_created_metrics


class ServedNumbers:
    """A run's numbers, each a metric of Prometheus whose name begins with cnn_. Is a `NumbersReceiver`.

    They are set once a call of the compiled step or less often, and turned into text when Prometheus asks. The
    dashboard docs/grafana.json shows them.

    Args:
        versions: the versions of the installed packages by name.
        run: the names of the network, the data and the optimizer, by kind.
        workers: number of workers.
    """

    def __init__(self, versions: Mapping[str, str], run: Mapping[str, str], workers: int) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a time of creation beside each counter
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, processor time and open files of rank 0
        build = {"version" if name == "cnn" else name.replace("-", "_"): each for name, each in versions.items()}
        Info("cnn_build", "Versions of this project and of its libraries.", registry=registry).info(build)
        self._about = dict(run)
        self._run = Info("cnn_run", "The run.", registry=registry)
        self._run.info(self._about)
        self._workers = Gauge("cnn_workers", "Workers of the job.", registry=registry)
        self._workers.set(workers)
        self._steps = Counter("cnn_steps", "Steps computed since this process joined the job.", registry=registry)
        self._samples = Counter("cnn_samples", "Samples in these steps, over all workers.", registry=registry)
        self._step = Gauge("cnn_step", "Steps of the run done, of all its jobs.", registry=registry)
        self._last_step = Gauge("cnn_last_step", "Steps at which the run ends.", registry=registry)
        self._epoch = Gauge("cnn_epoch", "Epochs of the run done.", registry=registry)
        self._rate = Gauge("cnn_learning_rate", "Learning rate of the latest step.", registry=registry)
        self._step_seconds = Gauge("cnn_step_seconds", "Mean duration of the latest steps.", registry=registry)
        self._time = Gauge(
            "cnn_last_step_timestamp_seconds", "Time of the latest step, in Unix seconds.", registry=registry
        )
        self._parts = Gauge(
            "cnn_step_part_seconds", "Mean time of a part of rank 0's latest steps.", ["part"], registry=registry
        )
        self._activities = Gauge(
            "cnn_run_seconds", "Wall time of the run, over all its starts.", ["activity"], registry=registry
        )
        self._goodput = Gauge("cnn_goodput_ratio", "Share of it in kept training steps.", registry=registry)
        self._limited = Gauge("cnn_limited", "1 for a cause that has limited the speed.", ["cause"], registry=registry)
        self._goodput.set(math.nan)
        for unknown in (self._step, self._last_step, self._epoch, self._rate, self._step_seconds, self._time):
            unknown.set(math.nan)
        self._means: dict[str, Gauge] = {}
        self._steps_per_epoch = 1

    def begin(self, folder: str, step: int, last_step: int, steps_per_epoch: int) -> None:
        """As `NumbersReceiver`."""
        self._run.info({**self._about, "folder": folder})
        self._steps_per_epoch = steps_per_epoch
        self._last_step.set(last_step)
        self._set_step(step)

    def progress(self, step: int, taken: int, samples: int, samples_per_second: float | None) -> None:
        """As `NumbersReceiver`."""
        self._steps.inc(taken)
        self._samples.inc(samples)
        self._set_step(step)
        self._time.set_to_current_time()
        if samples_per_second:
            self._step_seconds.set(samples / samples_per_second / taken)

    def learning_rate(self, rate: float) -> None:
        """As `NumbersReceiver`."""
        self._rate.set(rate)

    def times(self, parts: Mapping[str, float], activities: Mapping[str, float], goodput: float) -> None:
        """As `NumbersReceiver`."""
        for part, seconds in parts.items():
            self._parts.labels(part).set(seconds)
        for activity, seconds in activities.items():
            self._activities.labels(activity).set(seconds)
        self._goodput.set(goodput)

    def limit(self, cause: str) -> None:
        """As `NumbersReceiver`."""
        self._limited.labels(cause).set(1)

    def means(self, part: str, means: Mapping[str, float]) -> None:
        """As `NumbersReceiver`."""
        for name, mean in means.items():
            if name not in self._means:
                text = f"Mean {name} of a part's samples; accuracies are fractions of 1."
                self._means[name] = Gauge(f"cnn_{name}", text, ["part"], registry=self.registry)
            self._means[name].labels(part).set(mean)

    def _set_step(self, step: int) -> None:
        self._step.set(step)
        self._epoch.set(step / self._steps_per_epoch)
