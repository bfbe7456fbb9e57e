"""Training by jobs/train.py in a process of its own, whose threads and workers are set up before TensorFlow starts."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnn.errors import StoppedError, UserError
from cnn.notebook.child import Child
from cnn.notebook.live_curve import LiveCurve
from cnn.notebook.training_result import TrainingResult, read_result
from cnn.runs.run_folder import default_folder, make_new_folder
from cnn.settings.settings import TrainingSettings, parse_settings

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = _ROOT / "jobs" / "train.py"


def train(*, workers: int = 1, **settings: Any) -> TrainingResult:
    """Trains a network as jobs/train.py does, and waits for the end.

    A notebook shows the learning curves meanwhile; the program's lines are printed. An interrupt (Ctrl-C, or Jupyter's
    stop button) stops training after its current step and saves that step; a second one ends it at once.

    Args:
        workers: number of worker processes on this machine, which mpirun starts if there are several.
        settings: those of jobs/train.py, for example model="lenet5-like", data="digits", epochs=5, flip=True, or
            config="recipe.yaml"; `python jobs/train.py --help` describes them.

    Returns:
        The run's folder, test accuracy and curves.

    Raises:
        UserError: a setting or the data cannot be used.
        RunError: training could not continue.
        KeyboardInterrupt: after an interrupt, when the processes have ended.
    """
    if type(workers) is not int or workers < 1:
        raise UserError(f"workers is {workers!r}: give a whole number of at least 1.")
    words = [f"--{name}={_word(value)}" for name, value in settings.items()]
    parsed = parse_settings("", TrainingSettings, words)
    model, data = parsed.model.model, parsed.data.data
    if parsed.run.run_dir is not None:
        folder = Path(parsed.run.run_dir)
        _run(_command(words, workers), folder, f"{model} on {data}")
        return read_result(folder)
    folder = make_new_folder(default_folder(data, model))  # here, to find the metrics while they are written
    try:
        _run(_command([*words, f"--run_dir={folder}"], workers), folder, f"{model} on {data}")
    finally:
        if not any(folder.iterdir()):  # nothing was trained
            folder.rmdir()
    return read_result(folder)


def _word(value: Any) -> str:
    """A setting's value as on the command line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _command(words: Sequence[str], workers: int) -> list[str]:
    if workers == 1:
        return [sys.executable, str(_PROGRAM), *words]
    # -P: modules are not searched for in the notebook's folder
    launcher = [sys.executable, "-P", "-m", "cnn.launching.launcher", "mpirun", "-np", str(workers)]
    return [*launcher, "--oversubscribe", "--program", str(_PROGRAM), "--", *words]  # the run warns if it is crowded


def _run(command: Sequence[str], folder: Path, title: str) -> None:
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    curve = LiveCurve(folder, title)
    printed = {"CNN_PROGRESS": "lines", "CNN_LOG_FORMAT": "text"}
    with Child(command, {**os.environ, "PYTHONPATH": path, **printed}) as child:
        try:
            child.follow(curve.update)
        except KeyboardInterrupt:
            child.stop()
            if child.exit_code == StoppedError.exit_code:
                print(f"{child.last_words} In Python: the same settings, run_dir={str(folder)!r} and resume=True.")
            raise
    curve.update(final=True)
    child.raise_error()
