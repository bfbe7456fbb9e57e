"""Starts real jobs: several processes under mpirun or horovodrun, or one without a launcher."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from .preloaded import Preloaded

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SECONDS = 240
"""No job of these tests may last longer."""

LAUNCHERS: dict[str, Callable[[int], list[str]]] = {
    "none": lambda workers: [],
    "mpirun": lambda workers: ["mpirun", "--oversubscribe", "-np", str(workers)],
    "horovodrun --gloo": lambda workers: ["horovodrun", "--gloo", "-np", str(workers)],
    "horovodrun": lambda workers: ["horovodrun", "-np", str(workers)],
}


class Jobs:
    """Starts programs of jobs/ in an environment of little more than PATH and HOME."""

    def __init__(self, cache: Path, preloaded: Preloaded | None = None) -> None:
        self._preloaded = preloaded
        self.environment = {
            "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
            "HOME": os.environ["HOME"],
            "PYTHONPATH": str(ROOT),
            "CNN_CACHE_DIR": str(cache),
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        }
        self.started: list[subprocess.Popen[str]] = []

    def start(
        self, *arguments: object, launcher: str = "none", workers: int = 1, within: Sequence[str] = (), **extra: str
    ) -> subprocess.Popen[str]:
        """Starts `python jobs/ARGUMENTS`, by the command `within` if there is one; its output is one text."""
        command = [*within, *LAUNCHERS[launcher](workers), sys.executable, *map(str, arguments)]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**self.environment, **extra},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def run(
        self, *arguments: object, launcher: str = "none", workers: int = 1, within: Sequence[str] = (), **extra: str
    ) -> tuple[int, str]:
        """Runs it to its end; gives the exit code and the output."""
        words = [*map(str, arguments)]
        if self._preloaded and launcher == "none" and not within and all(name.startswith("CNN_") for name in extra):
            return self._preloaded.run(words, {**self.environment, **extra})
        process = self.start(*words, launcher=launcher, workers=workers, within=within, **extra)
        output, _ = process.communicate(timeout=SECONDS)
        return process.returncode, output


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of data sets that these tests share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preloaded]:
    """Runs programs that no launcher starts."""
    preloaded = Preloaded(tmp_path_factory.mktemp("preloaded") / "socket", ROOT, SECONDS)
    yield preloaded
    preloaded.end()


@pytest.fixture
def jobs(cache: Path, preloaded: Preloaded) -> Iterator[Jobs]:
    jobs = Jobs(cache, preloaded)
    yield jobs
    for process in jobs.started:
        if process.poll() is None:
            process.kill()
            process.wait()
