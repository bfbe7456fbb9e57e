"""Starts real jobs: several processes under mpirun or horovodrun, or one without a launcher."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest

from ..installed_command import install_command
from .preloaded import Preloaded

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SECONDS = 240
"""No job of these tests may last longer, unless said otherwise."""

LAUNCHERS: dict[str, Callable[[int], list[str]]] = {
    "none": lambda workers: [],
    "mpirun": lambda workers: ["mpirun", "--oversubscribe", "-np", str(workers)],
    "horovodrun --gloo": lambda workers: ["horovodrun", "--gloo", "-np", str(workers)],
    "horovodrun": lambda workers: ["horovodrun", "-np", str(workers)],
}


ENVIRONMENT = {
    "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
    "HOME": os.environ["HOME"],
    "PYTHONPATH": str(ROOT),
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}


class Jobs:
    """Starts programs of jobs/ in an environment of little more than PATH and HOME."""

    def __init__(self, cache: Path, preloaded: Preloaded | None = None, seconds: float = SECONDS) -> None:
        self._preloaded, self._seconds = preloaded, seconds
        self.python = sys.executable if preloaded is None else str(preloaded.script)
        """What starts programs."""

        self.environment = {**ENVIRONMENT, "CNN_CACHE_DIR": str(cache)}
        self.started: list[subprocess.Popen[str]] = []

    def start(
        self,
        *arguments: object,
        launcher: str = "none",
        workers: int = 1,
        within: Sequence[str] = (),
        **extra: str,
    ) -> subprocess.Popen[str]:
        """Starts `python ARGUMENTS`, by the command `within` if there is one; its output is one text."""
        python = self.python if self._preloaded_for(within, extra) else sys.executable
        return self._start([*within, *LAUNCHERS[launcher](workers), python, *map(str, arguments)], extra)

    def _preloaded_for(self, within: Sequence[str], extra: Mapping[str, str]) -> Preloaded | None:
        """What has imported the libraries, unless a command or variables could have changed that."""
        read_later = ("CNN_", "HOROVOD_", "PATH")
        return None if within or any(not name.startswith(read_later) for name in extra) else self._preloaded

    def _start(self, command: Sequence[str], extra: Mapping[str, str]) -> subprocess.Popen[str]:
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
        self,
        *arguments: object,
        launcher: str = "none",
        workers: int = 1,
        within: Sequence[str] = (),
        **extra: str,
    ) -> tuple[int, str]:
        """Runs it to its end; gives the exit code and the output."""
        preloaded = self._preloaded_for(within, extra)
        if preloaded and launcher == "none":
            return preloaded.run([*map(str, arguments)], ROOT, {**self.environment, **extra})
        process = self.start(*arguments, launcher=launcher, workers=workers, within=within, **extra)
        output, _ = process.communicate(timeout=self._seconds)
        return process.returncode, output

    def run_command(self, *words: object, launcher: str = "none", workers: int = 1, folder: Path) -> tuple[int, str]:
        """Runs `cnn WORDS`, which is installed in a folder, to its end; gives the exit code and the output."""
        install_command(folder, self.python)
        path = {"PATH": f"{folder}:{self.environment['PATH']}"}
        process = self._start([*LAUNCHERS[launcher](workers), "cnn", *map(str, words)], path)
        output, _ = process.communicate(timeout=self._seconds)
        return process.returncode, output

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends what still runs."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of data sets that these tests share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preloaded]:
    """Runs programs, also those that launchers start."""
    with Preloaded(tmp_path_factory.mktemp("preloaded") / "socket", ENVIRONMENT, SECONDS) as preloaded:
        yield preloaded


@pytest.fixture
def jobs(cache: Path, preloaded: Preloaded) -> Iterator[Jobs]:
    with Jobs(cache, preloaded) as jobs:
        yield jobs
