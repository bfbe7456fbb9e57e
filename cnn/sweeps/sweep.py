"""Training of every combination of a recipe, several in parallel."""

import contextlib
import dataclasses
import functools
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from cnn.choices import check_counts
from cnn.cluster.launchers.process import launch_from_environment
from cnn.data.feed.augmentation import Augmentation
from cnn.data.sources.registry import open_dataset
from cnn.errors import DIVERGED, UserError
from cnn.foreign_folder import open_new
from cnn.from_json import read_object
from cnn.launching.host_check import devices_here, gpus_for_ranks
from cnn.launching.side_by_side import Command, divide, run_side_by_side
from cnn.models.registry import NETWORKS, check_image_size
from cnn.quiet_import import import_tensorflow_quietly
from cnn.runs.checkpoints import CheckpointFolder
from cnn.runs.folder_lock import lock_folder, locked_by
from cnn.runs.run_folder import ENVIRONMENT, differences, holds_run
from cnn.sweeps.recipe import Combination, combinations

OUTPUT = "output.log"
"""File in the run folder with the run's standard output and error."""

_TAIL_BYTES = 100_000
"""Bytes read from the end of a failure.log, enough for the last reason."""

_open = functools.cache(open_dataset)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """The sweep."""

    recipe: str = ""
    """YAML file of training settings, each with a value or a list of values; see jobs/recipes."""

    sweep_dir: str | None = None
    """Folder of the runs and their comparison; by default runs/RECIPE."""

    cores: int = 1
    """Processor cores per run; as many runs as fit are trained in parallel, with one GPU per worker if available."""

    workers: int = 1
    """Workers per run."""

    launcher: str = "mpirun -np"
    """Command that starts the workers if there are several; their number and the program are appended."""

    def __post_init__(self) -> None:
        if not self.recipe:
            raise UserError("--recipe is missing: name a file, for example jobs/recipes/tutorial-mnist.yaml.")
        check_counts(self, "cores", "workers")
        if self.workers > 1 and not (self.launcher.strip() and shutil.which(self.launcher.split()[0])):
            raise UserError(f"--launcher '{self.launcher}' is not on this machine: name a launcher that is installed.")

    @property
    def folder(self) -> Path:
        return Path("runs", Path(self.recipe).stem) if self.sweep_dir is None else Path(self.sweep_dir)


State = Literal["new", "begun", "interrupted", "done", "diverged"]
"""State of a run folder. begun: without a checkpoint to resume; diverged: would diverge again, so not repeated."""


@dataclasses.dataclass(kw_only=True)
class Run:
    """One combination and its folder."""

    combination: Combination
    folder: Path
    state: State
    failure: str = ""
    """Why the run failed when it was last started."""

    @property
    def ended(self) -> bool:
        return self.state in ("done", "diverged")


def check_recipe(settings: SweepSettings, given: Mapping[str, Any]) -> list[Combination]:
    """Reads a recipe and checks its combinations and their data before anything starts.

    Args:
        settings: settings of the sweep.
        given: training settings of the command line.

    Raises:
        UserError: the recipe, a combination or its data is invalid.
    """
    if launch_from_environment(os.environ).controller != "none":
        raise UserError("start the sweep without mpirun or horovodrun: --workers sets the number of workers per run.")
    divide(os.sched_getaffinity(0), settings.cores)
    found = combinations(Path(settings.recipe), given)
    for each in found:
        if each.settings.metrics.metrics_port is not None:
            raise UserError(f"{each.location}: runs of a sweep cannot share one --metrics_port: leave it out.")
        try:
            dataset, model = _open(each.settings.data), each.settings.model.model
            if min(dataset.input_shape[:2]) < NETWORKS[model].smallest_image:
                import_tensorflow_quietly()  # the check below imports it to name the layer that fails
            check_image_size(model, dataset.input_shape)
            Augmentation(each.settings.augmentation, dataset.image_shape, dataset.input_shape)
        except UserError as error:
            raise UserError(f"{each.location}: {error}") from error
    return found


@contextlib.contextmanager
def reserve(folder: Path) -> Iterator[int]:
    """Creates the sweep's folder and locks it against other sweeps; yields the descriptor of the lock file.

    The folder stays locked while the descriptor is open. Runs inherit it, so that no run left behind by a killed sweep
    is started twice.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = lock_folder(folder)
    except OSError as error:
        raise UserError(
            f"the folder {folder} cannot be written ({error.strerror}); choose another --sweep_dir."
        ) from error
    if lock is None:
        raise UserError(
            f"another sweep ({locked_by(folder)}), or a run that it left behind, is using {folder}: wait until it "
            "ends, or choose another --sweep_dir."
        )
    try:
        yield lock
    finally:
        os.close(lock)


def find_runs(folder: Path, found: Sequence[Combination]) -> list[Run]:
    """Returns the runs with the states of their folders; raises UserError when a folder holds a different run."""
    runs = []
    for each in found:
        path = folder / each.name
        runs.append(Run(combination=each, folder=path, state=_find_state(path, each)))
    return runs


def _find_state(folder: Path, combination: Combination) -> State:
    if not holds_run(folder):
        return "new"
    differing = differences(folder, combination.settings.merged, must_agree=("epochs", "steps", "initialize_from"))
    if differing:
        raise UserError(
            f"{combination.location}: {folder} holds a run with other settings: {differing}; use the same settings, or "
            "choose another --sweep_dir."
        )
    environment = folder / ENVIRONMENT
    checksum = _open(combination.settings.data).checksum
    if environment.is_file() and read_object(environment).get("data_checksum") != checksum:
        raise UserError(
            f"{combination.location}: {folder} holds a run on other data: set --data_dir to the data of that run, or "
            "choose another --sweep_dir."
        )
    if (folder / "summary.json").is_file():
        return "done"
    if DIVERGED in last_failure(folder):
        return "diverged"
    return "interrupted" if CheckpointFolder(folder / "checkpoints").steps() else "begun"


def last_failure(folder: Path) -> str:
    """Returns the last reason in a run's failure.log; empty if there is none."""
    log = folder / "failure.log"
    if not log.is_file():
        return ""
    with open(log, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
        lines = file.read(_TAIL_BYTES).decode(errors="replace").splitlines()
    return lines[-1].partition(": ")[2] if lines else ""


def train_runs(
    settings: SweepSettings,
    runs: Sequence[Run],
    program: Path,
    lock: int,
    on_start: Callable[[Run], None],
    on_end: Callable[[Run], None],
) -> None:
    """Trains the runs that have not ended.

    Args:
        settings: settings of the sweep.
        runs: all runs; their states are updated.
        program: path of jobs/train.py.
        lock: descriptor of the file that locks the folder.
        on_start: called with each run that is about to start.
        on_end: called with each run that ends.

    Raises:
        EndedBySignalError: on a signal, after all runs in progress have been ended.
    """
    gpus = gpus_for_ranks(devices_here().gpus, os.environ)
    shares = divide(os.sched_getaffinity(0), settings.cores, gpus, settings.workers)
    # Open MPI would bind the workers of all runs to the same cores, and runs as root only if two variables allow it.
    environment = {
        **os.environ,
        "OMPI_MCA_hwloc_base_binding_policy": "none",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "CNN_PROGRESS": "lines",
        "CNN_LOG_FORMAT": "text",  # the sweep reads what runs print
    }
    waiting = {run.combination.name: run for run in runs if not run.ended}

    def commands() -> Iterator[Command]:  # as one after the other starts
        for run in waiting.values():
            command = _command(settings, run, program)
            on_start(run)
            yield command

    with contextlib.closing(run_side_by_side(commands(), shares, environment, lock)) as ends:
        for end in ends:
            run = waiting[end.name]
            run.state = _find_state(run.folder, run.combination)
            run.failure = "" if run.ended else _failure_reason(run.folder, end.exit_code)
            on_end(run)


def _command(settings: SweepSettings, run: Run, program: Path) -> Command:
    try:
        if run.state == "begun":
            _empty(run.folder)
        run.folder.mkdir(exist_ok=True)
        open_new(run.folder / OUTPUT).close()
    except OSError as error:
        raise UserError(
            f"the run folder {run.folder} cannot be written ({error.strerror}); choose another --sweep_dir."
        ) from error
    launcher = [*settings.launcher.split(), str(settings.workers)] if settings.workers > 1 else []
    resume = ["--resume"] if run.state == "interrupted" else []
    arguments = [*run.combination.arguments, f"--run_dir={run.folder}", *resume]
    return Command(
        name=run.combination.name,
        arguments=[*launcher, sys.executable, str(program), *arguments],
        output=run.folder / OUTPUT,
    )


def _empty(folder: Path) -> None:
    """Removes the content of a folder, but not the folder itself, which may be a link."""
    for each in folder.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()


def _failure_reason(folder: Path, exit_code: int) -> str:
    """Returns a run's last error message, or how its process ended if it printed none."""
    lines = (folder / OUTPUT).read_text(errors="replace").splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if errors:
        return errors[-1]
    return f"ended by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"ended with exit code {exit_code}"
