"""What surrounds the steps of a training run, measured with steps that wait instead of computing: what its start,
agreements, evaluation, checkpoints and stop cost each of many workers."""

import contextlib
import dataclasses
import functools
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cnn
from cnn.data.sources.registry import open_dataset
from cnn.data.store.cache_folder import cache_folder
from cnn.errors import StoppedError
from cnn.measuring.benchmark_settings import Settings
from cnn.monitoring.serving.metrics_server import MetricsSettings
from cnn.optim.schedules import ScheduleSettings
from cnn.settings.settings import RunSettings, TrainingSettings

if TYPE_CHECKING:
    from cnn.cluster.ranks.collectives import Cluster
    from cnn.cluster.ranks.job import Job
    from cnn.learner.learner import Learner
    from cnn.learner.step import TrainingStep
    from cnn.learner.step_results import StepResults
    from cnn.measuring.phase_log import PhaseLog

_SEED = 1
_MANY_STEPS = 10**6
"""Steps of the resumed run, which is stopped long before."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhaseCosts:
    """One phase. Numbers of messages and bytes are those of rank 0; they are the same on the others."""

    name: str
    seconds: float
    """Of rank 0, in which it also waits for others."""

    max_seconds: float
    """Of the rank with the most."""

    processor_seconds: float
    """Of the thread that runs the program, on rank 0."""

    max_processor_seconds: float
    """The same, the maximum of the other ranks."""

    all_processor_seconds: float
    """Of all threads, the mean of the ranks."""

    collectives: int
    received_bytes: int
    compiled_collectives: int
    """Collectives in a compiled function, which each of its steps calls once."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ControlPath:
    """What the control path costs with one number of workers."""

    workers: int
    phases: list[PhaseCosts]
    """In the order of their first moments."""

    private_bytes: list[int]
    """Memory that rank 0, and that the other rank with the most, has to itself."""

    shared_bytes: int
    """Memory that rank 0 shares with other processes."""

    open_files: list[int]
    """Descriptors of rank 0, and the maximum of the others."""

    opened_files: dict[str, list[int]]
    """Files that Python opened after its imports, by folder: by rank 0, and the maximum of the other ranks."""

    def to_json(self) -> str:
        """Writes all fields as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @staticmethod
    def from_json(text: str) -> "ControlPath":
        """Reads the output of `to_json`."""
        values = json.loads(text)
        return ControlPath(**{**values, "phases": [PhaseCosts(**each) for each in values["phases"]]})


def measure_control_path(cluster: "Cluster", settings: Settings, job: "Job") -> ControlPath:
    """Measures with the current workers; every rank calls it and gets the same result.

    Raises:
        UserError: a kernel is sharded, so that the steps cannot be replaced by waiting.
    """
    from cnn.measuring.phase_log import LoggedHorovod, PhaseLog, count_opened_files
    from cnn.runs.time_record import process_age

    cluster.done_everywhere(lambda: open_dataset(settings.data))  # prepared before anything is measured
    with _scratch_folder(cluster) as scratch:
        package, environment = Path(cnn.__file__).parent, Path(sys.prefix)
        folders = {"run": scratch, "data": cache_folder(), "code": package, "environment": environment}
        opened = count_opened_files(folders)
        cluster.gather(None)  # all ranks start together
        log = PhaseLog(_phases())
        start = log.mark("connection")
        start.seconds, start.all_processor_seconds = process_age(), time.process_time()
        cluster.observe(lambda horovod: LoggedHorovod(horovod, log))
        _run_to_the_end(cluster, settings, job, scratch / "run", log)
        log.part = "resumed: "
        _resume_and_stop(cluster, settings, job, scratch / "run", log)
        cluster.observe(lambda logged: logged.unlogged)
        job.folder = None  # it is removed now
        return _result(cluster, log, opened)


def _phases() -> dict[Callable[..., Any], str]:
    """The phase of a run to which a function belongs, with all that it calls."""
    from cnn.cluster.ranks.fingerprints import check_in_step
    from cnn.learner.evaluation import Evaluator, Soundness
    from cnn.measuring.waiting_step import WaitingStep
    from cnn.runs.checked_data import open_training_data
    from cnn.runs.needs import needs_of_run
    from cnn.runs.prepared_run import prepare_run
    from cnn.runs.resumption import best_checkpoint, check_data, restore_and_broadcast
    from cnn.runs.start import claim_folder, decide_start
    from cnn.runs.step_times import StepTimer
    from cnn.runs.train import train

    return {
        train: "settings compared",
        decide_start: "start decided",
        open_training_data: "data",
        check_data: "data",
        prepare_run: "network",
        claim_folder: "run folder",
        restore_and_broadcast: "broadcast",
        WaitingStep.run: "steps",
        check_in_step: "weights compared",
        StepTimer.compare: "times compared",
        Evaluator.__call__: "evaluation",
        Soundness.__call__: "evaluation",
        needs_of_run: "checkpoint",
        best_checkpoint: "checkpoint",
        _resume_and_stop: "stop",
    }


@contextlib.contextmanager
def _scratch_folder(cluster: "Cluster") -> Iterator[Path]:
    """A folder of the same path on every rank, which rank 0 makes and removes."""
    with contextlib.ExitStack() as stack:
        yield Path(cluster.from_chief(lambda: stack.enter_context(tempfile.TemporaryDirectory())))
        cluster.gather(None)  # no rank needs it any more


def _training_settings(settings: Settings, folder: Path, workers: int, *, resume: bool) -> TrainingSettings:
    benchmark = settings.benchmark
    run = RunSettings(
        run_dir=str(folder),
        resume=resume,
        steps=_MANY_STEPS if resume else benchmark.benchmark_steps,
        global_batch_size=benchmark.batch_size * (workers if benchmark.scaling == "weak" else 1),
        seed=_SEED,
    )
    shared = {field.name for field in dataclasses.fields(TrainingSettings)} - {"schedule", "run", "metrics"}
    groups = {name: getattr(settings, name) for name in shared}
    return TrainingSettings(**groups, schedule=ScheduleSettings(), run=run, metrics=MetricsSettings())


def _run_to_the_end(cluster: "Cluster", settings: Settings, job: "Job", folder: Path, log: "PhaseLog") -> None:
    from cnn.runs.train import train

    given = _training_settings(settings, folder, cluster.world_size, resume=False)
    train(cluster, given, job, functools.partial(_waiting_step, settings, log, lambda: None))
    log.mark("results")
    if job.carried.lock is not None:  # the resumed run takes it again
        os.close(job.carried.lock)
    job.carried = None


def _resume_and_stop(cluster: "Cluster", settings: Settings, job: "Job", folder: Path, log: "PhaseLog") -> None:
    from cnn.runs.train import train

    def ask_to_stop() -> None:
        """Sends the last rank a signal in its first call, whose effect is seen at the end of the second."""
        if cluster.rank == cluster.world_size - 1 and not job.stop_requested():
            os.kill(os.getpid(), signal.SIGTERM)
            while not job.stop_requested():
                time.sleep(0.001)

    given = _training_settings(settings, folder, cluster.world_size, resume=True)
    with contextlib.suppress(StoppedError):
        train(cluster, given, job, functools.partial(_waiting_step, settings, log, ask_to_stop))
    cluster.gather(None)  # as at the end of a program that was stopped
    log.mark("stop")


def _waiting_step(
    settings: Settings, log: "PhaseLog", after_call: Callable[[], None], learner: "Learner", **options: Any
) -> "TrainingStep":
    """Makes the step, which marks in the log what happens before, in and after its calls."""
    from cnn.measuring.waiting_step import WaitingStep

    def around(run: "Callable[[], StepResults]") -> "StepResults":
        log.mark("between steps")
        results = run()
        log.mark("steps")
        after_call()
        return results

    log.mark("report opened")
    step_class = functools.partial(WaitingStep, seconds=settings.control_path.control_path or 0.0, around=around)
    return learner.make_step(step_class=step_class, **options)


def _result(cluster: "Cluster", log: "PhaseLog", opened: dict[str, int]) -> ControlPath:
    from cnn.measuring.phase_log import own_memory

    names = cluster.gather(list(log.phases))[0]
    own = {
        "phases": [dataclasses.asdict(log.phase(name)) for name in names],
        "memory": own_memory(),
        "files": len(os.listdir("/proc/self/fd")),
        "opened": opened,
    }
    ranks = cluster.gather(own)
    others = ranks[1:] or ranks
    return ControlPath(
        workers=cluster.world_size,
        phases=[_costs(name, [rank["phases"][place] for rank in ranks]) for place, name in enumerate(names)],
        private_bytes=[ranks[0]["memory"][0], max(rank["memory"][0] for rank in others)],
        shared_bytes=ranks[0]["memory"][1],
        open_files=[ranks[0]["files"], max(rank["files"] for rank in others)],
        opened_files={
            name: [count, max(rank["opened"][name] for rank in others)] for name, count in ranks[0]["opened"].items()
        },
    )


def _costs(name: str, ranks: "list[dict[str, Any]]") -> PhaseCosts:
    """Joins a phase of all ranks, each the fields of a `Phase`."""
    first, others = ranks[0], ranks[1:] or ranks
    return PhaseCosts(
        name=name,
        seconds=first["seconds"],
        max_seconds=max(rank["seconds"] for rank in ranks),
        processor_seconds=first["processor_seconds"],
        max_processor_seconds=max(rank["processor_seconds"] for rank in others),
        all_processor_seconds=sum(rank["all_processor_seconds"] for rank in ranks) / len(ranks),
        collectives=first["collectives"],
        received_bytes=first["received_bytes"],
        compiled_collectives=first["compiled_collectives"],
    )
