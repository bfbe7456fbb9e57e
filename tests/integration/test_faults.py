"""Runs that are killed or stopped at a moment that follows from a seed: gone on with, they end as if nothing had been.

A few of them are among the other tests; `bash launch/test.sh --faults` runs all, and prints a table.
"""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnn.runs.checkpoints import CheckpointFolder, load_checkpoint

from .conftest import ROOT, Jobs
from .preloaded import Preloaded
from .processes import process_of_rank, until

STEPS, STEPS_PER_EPOCH, WORKERS = 80, 5, 3
MOMENTS = ("start", "step", "evaluation", "saving")
SHORT = (signal.SIGKILL, 3)
FAULTS = [
    pytest.param(number, seed, marks=[] if (number, seed) == SHORT else [pytest.mark.faults])
    for number in (signal.SIGKILL, signal.SIGTERM)
    for seed in range(20)
]


def train(folder: Path, *more: object) -> list[object]:
    size = ("--model", "lenet5-like", "--global_batch_size", 300, "--save_every", 3, "--log_every", 1)
    return ["jobs/train.py", "--data", "digits", *size, "--steps", STEPS, "--run_dir", folder, *more]


def last(folder: Path) -> dict[str, np.ndarray]:
    return load_checkpoint(CheckpointFolder(folder / "checkpoints").path(STEPS))[0]


@pytest.fixture(scope="module")
def undisturbed(cache: Path, preloaded: Preloaded, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The weights of a run that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    code, output = Jobs(cache, preloaded).run(*train(folder), launcher="mpirun", workers=WORKERS)
    assert code == 0, output
    return last(folder)


def moment_in(folder: Path, kind: str, step: int) -> Callable[[], bool]:
    """Tells whether a run has come to a moment of a kind, at a step or the next time after it."""
    metrics, checkpoints = folder / "metrics.jsonl", folder / "checkpoints"

    def newest() -> tuple[str, int]:
        lines = metrics.read_text().splitlines() if metrics.is_file() else []
        match = re.match(r'{"part": "(\w+)", "step": (\d+),', lines[-1]) if lines else None
        return (match[1], int(match[2])) if match else ("", 0)

    def evaluates() -> bool:
        part, done = newest()
        return done >= step and part == "train" and done % STEPS_PER_EPOCH == 0

    return {
        "start": (folder / "settings.yaml").is_file,
        "step": lambda: newest()[1] >= step,
        "evaluation": evaluates,
        "saving": lambda: newest()[1] >= step and any(checkpoints.glob("*.unfinished")),
    }[kind]


def disturb(jobs: Jobs, folder: Path, seed: int, number: signal.Signals) -> tuple[str, int, str]:
    """Sends a signal to a rank, all following from the seed; gives what was done, the exit code, the output."""
    choice = random.Random(seed)
    kind, step, rank = MOMENTS[seed % len(MOMENTS)], choice.randrange(1, STEPS // 2), choice.randrange(WORKERS)
    job = jobs.start(*train(folder), launcher="mpirun", workers=WORKERS)
    reached = moment_in(folder, kind, step)
    until(lambda: reached() or job.poll() is not None, job)
    if job.poll() is None:
        os.kill(process_of_rank(rank, folder), number)
    sent = time.monotonic()
    output, _ = job.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert time.monotonic() - sent < 10
    return f"{number.name} to rank {rank}, {kind}, from step {step} on", job.returncode, output


@pytest.mark.parametrize(("number", "seed"), FAULTS)
def test_a_disturbed_run_goes_on_to_the_same_bits(
    jobs: Jobs, undisturbed: dict[str, np.ndarray], tmp_path: Path, number: signal.Signals, seed: int
) -> None:
    folder = tmp_path / "run"
    what, code, output = disturb(jobs, folder, seed, number)
    saved = CheckpointFolder(folder / "checkpoints").steps()
    print(f"seed {seed}: {what}: exit code {code}, last checkpoint {saved[-1] if saved else 'none'}")
    assert code != 0, output
    if code == 75:
        assert f"stopped: at step {saved[-1]} of {STEPS}" in output
    code, output = jobs.run(*train(folder, "--resume"), launcher="mpirun", workers=WORKERS)
    assert code == 0, output
    found = last(folder)
    assert found.keys() == undisturbed.keys()
    for name, values in undisturbed.items():
        assert np.array_equal(found[name], values), name


SAVING = """
import sys
from pathlib import Path
import numpy as np
from cnn.runs.background_saver import BackgroundSaver
from cnn.runs.checkpoints import CheckpointFolder

with BackgroundSaver(CheckpointFolder(Path(sys.argv[1]))) as saver:
    for step in range(1, 1000):
        saver.save(step, {"weights": np.full(2_000_000, step)}, {"step": step}, best=step % 3 == 0)
        print(step - 1, flush=True)  # is written
"""
WHOLE = 16_000_000


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.faults) for seed in range(3, 50))])
def test_a_process_killed_while_it_saves_leaves_a_whole_checkpoint(tmp_path: Path, seed: int) -> None:
    choice = random.Random(seed)
    written, part = choice.randrange(1, 6), choice.random()
    folder = CheckpointFolder(tmp_path / "checkpoints")
    command = [sys.executable, "-c", SAVING, str(folder.folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout
        while int(job.stdout.readline()) < written:
            pass
        size = 0
        while job.poll() is None and size < part * WHOLE:  # the job itself has an end
            with contextlib.suppress(FileNotFoundError):  # it is whole, and renamed, meanwhile
                size = max((path.stat().st_size for path in unfinished(folder)), default=0)
        job.kill()
    checkpoint, damage = folder.load_last()
    print(f"seed {seed}: killed with {size / WHOLE:.0%} written, {len(unfinished(folder))} unfinished")
    assert checkpoint is not None
    assert damage == []
    assert checkpoint.record["step"] >= written
    for path in folder.folder.glob("*.npz"):
        arrays, record = load_checkpoint(path)
        assert (arrays["weights"] == record["step"]).all()


def unfinished(folder: CheckpointFolder) -> list[Path]:
    return list(folder.folder.glob("*.unfinished"))
