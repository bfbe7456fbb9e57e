"""Sweeps: trains every combination of a recipe, several at once, and compares what came of them."""

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
from cnn.cluster.process import launch_from_environment
from cnn.data.augmentation import Augmentation
from cnn.data.registry import open_dataset
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
"""What a run wrote to its terminal, in its folder."""

_REASONS = 100_000
"""Bytes at the end of a failure.log that hold the last reason."""

_open = functools.cache(open_dataset)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """The sweep."""

    recipe: str = ""
    """YAML file of training settings, of which any may have a list of values; see jobs/recipes."""

    sweep_dir: str | None = None
    """Folder of the runs and of what compares them; runs/RECIPE when not given."""

    cores: int = 1
    """Processor cores of each run; as many runs as have room go on at once, with a GPU for each worker if there are."""

    workers: int = 1
    """Workers that share each run."""

    launcher: str = "mpirun -np"
    """Starts the workers where there are several; their number and the command are added."""

    def __post_init__(self) -> None:
        if not self.recipe:
            raise UserError("--recipe is missing: name a file, jobs/recipes/tutorial-mnist.yaml say.")
        check_counts(self, "cores", "workers")
        if self.workers > 1 and not (self.launcher.strip() and shutil.which(self.launcher.split()[0])):
            raise UserError(f"--launcher '{self.launcher}' is not on this machine: give the command of one that is.")

    @property
    def folder(self) -> Path:
        return Path("runs", Path(self.recipe).stem) if self.sweep_dir is None else Path(self.sweep_dir)


State = Literal["new", "begun", "interrupted", "done", "diverged"]
"""Of a run folder; begun: there is no checkpoint to go on from. A run that diverged would do so again."""


@dataclasses.dataclass(kw_only=True)
class Run:
    """One combination and its folder."""

    combination: Combination
    folder: Path
    state: State
    failure: str = ""
    """Why it could not go on when it was started last."""

    @property
    def ended(self) -> bool:
        return self.state in ("done", "diverged")


def check_recipe(settings: SweepSettings, given: Mapping[str, Any]) -> list[Combination]:
    """Checks all that can be before anything starts; gives the combinations.

    Args:
        settings: the sweep's.
        given: training settings of the command line.

    Raises:
        UserError: the recipe, a combination or its data is at fault.
    """
    if launch_from_environment(os.environ).controller != "none":
        raise UserError("start the sweep without mpirun or horovodrun: --workers says how many share each run.")
    divide(os.sched_getaffinity(0), settings.cores)
    found = combinations(Path(settings.recipe), given)
    for each in found:
        try:
            dataset, model = _open(each.settings.data), each.settings.model.model
            if min(dataset.input_shape[:2]) < NETWORKS[model].smallest_image:
                import_tensorflow_quietly()  # which the check then does, to name the layer
            check_image_size(model, dataset.input_shape)
            Augmentation(each.settings.augmentation, dataset.image_shape, dataset.input_shape)
        except UserError as error:
            raise UserError(f"{each.entry}: {error}") from error
    return found


@contextlib.contextmanager
def reserve(folder: Path) -> Iterator[int]:
    """Makes the sweep's folder and keeps other sweeps out of it; gives the file that does so for as long as it is open.

    Runs that a killed sweep left behind hold it open too, so that none is started twice.
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
            f"another sweep ({locked_by(folder)}), or a run that it left behind, is at work in {folder}: wait for its "
            "end, or choose another --sweep_dir."
        )
    try:
        yield lock
    finally:
        os.close(lock)


def find_runs(folder: Path, found: Sequence[Combination]) -> list[Run]:
    """The runs, with what was done of them before; UserError when a folder holds one that is not this."""
    runs = []
    for each in found:
        path = folder / each.name
        runs.append(Run(combination=each, folder=path, state=_find_state(path, each)))
    return runs


def _find_state(folder: Path, combination: Combination) -> State:
    if not holds_run(folder):
        return "new"
    other = differences(folder, combination.settings.merged, must_agree=("epochs", "steps", "initialize_from"))
    if other:
        raise UserError(
            f"{combination.entry}: {folder} holds a run of other settings: {other}; give the same, or choose another "
            "--sweep_dir."
        )
    environment = folder / ENVIRONMENT
    checksum = _open(combination.settings.data).checksum
    if environment.is_file() and read_object(environment).get("data_checksum") != checksum:
        raise UserError(
            f"{combination.entry}: {folder} holds a run on other data: give the --data_dir of that time, or choose "
            "another --sweep_dir."
        )
    if (folder / "summary.json").is_file():
        return "done"
    if DIVERGED in last_failure(folder):
        return "diverged"
    return "interrupted" if CheckpointFolder(folder / "checkpoints").steps() else "begun"


def last_failure(folder: Path) -> str:
    """The last reason in a run's failure.log; empty when there is none."""
    log = folder / "failure.log"
    if not log.is_file():
        return ""
    with open(log, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _REASONS))
        lines = file.read(_REASONS).decode(errors="replace").splitlines()
    return lines[-1].partition(": ")[2] if lines else ""


def train_runs(
    settings: SweepSettings, runs: Sequence[Run], program: Path, lock: int, tell: Callable[[Run], None]
) -> None:
    """Trains those that have not ended.

    Args:
        settings: the sweep's.
        runs: their states become what comes of them.
        program: jobs/train.py.
        lock: the file that reserves the folder.
        tell: is called with each run that ends.

    Raises:
        EndedBySignalError: nothing of the sweep runs any more.
    """
    gpus = gpus_for_ranks(devices_here().gpus, os.environ)
    shares = divide(os.sched_getaffinity(0), settings.cores, gpus, settings.workers)
    # Open MPI would bind the workers of every run to the same cores, and refuses to run as root unless told so twice.
    environment = {
        **os.environ,
        "OMPI_MCA_hwloc_base_binding_policy": "none",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "CNN_PROGRESS": "lines",
    }
    waiting = {run.combination.name: run for run in runs if not run.ended}
    commands = (_command(settings, run, program) for run in waiting.values())
    with contextlib.closing(run_side_by_side(commands, shares, environment, lock)) as ends:
        for end in ends:
            run = waiting[end.name]
            run.state = _find_state(run.folder, run.combination)
            run.failure = "" if run.ended else _why(run.folder, end.exit_code)
            tell(run)


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
    """Removes what is in a folder; the folder itself may be a link, and stays."""
    for each in folder.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()


def _why(folder: Path, exit_code: int) -> str:
    """What a run said of its failure, else how its process ended."""
    lines = (folder / OUTPUT).read_text(errors="replace").splitlines()
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if said:
        return said[-1]
    return f"ended by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"ended with exit code {exit_code}"
