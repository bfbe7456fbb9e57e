"""The command that started this job, as far as it is known, so that advice can be copied and run."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cnn.cluster.mpirun_process import find_mpirun
from cnn.cluster.process import Launch
from cnn.shown_text import shell_words

COMMAND = "CNN_COMMAND_LINE"
"""The environment variable with which launchers pass their own command line to the ranks."""


def typed_command(launch: Launch, environ: Mapping[str, str]) -> str:
    """The command that started this job, launcher included, without the program's options: others can be appended."""
    words = own_words()
    if environ.get(COMMAND):
        words = shlex.split(environ[COMMAND])
    elif launch.controller == "mpi":
        mpirun = find_mpirun()
        # Without it, this rank is on another host than mpirun.
        words = mpirun.words if mpirun else ["mpirun", "-np", str(launch.world_size), *words]
    elif launch.controller == "gloo":
        words = ["horovodrun", "-np", str(launch.world_size), *words]
    return shell_words(_without_options(words, sys.argv[1:]))


def program_command(name: str) -> str:
    """The command that runs another of the programs in jobs/, `evaluate` for example, by one process."""
    return shell_words([_program(), _relative(str(Path(sys.argv[0]).with_name(f"{name}.py")))])


def with_launcher(launcher: Sequence[str]) -> str:
    """The command that runs this program by a launcher of this environment."""
    return f"{installed_command(launcher[0])} {shell_words([*launcher[1:], _program(), _relative(sys.argv[0])])}"


def installed_command(name: str) -> str:
    """The command that runs a program of this environment, found as the user's shell finds Python."""
    folder = Path(_program()).parent
    return shell_words([name if folder == Path() else str(folder / name)])


def own_words() -> list[str]:
    """This process's command line as words; for a script of this environment, as `horovodrun`, without Python."""
    script = Path(sys.orig_argv[1]) if len(sys.orig_argv) > 1 else Path()
    if script.parent.resolve() == Path(sys.executable).parent.resolve():
        name = script.name if shutil.which(script.name) == str(script) else _relative(str(script))
        return [name, *sys.orig_argv[2:]]
    return [_program(), *sys.orig_argv[1:]]


def _program() -> str:
    """Python, as the user typed it, or relative to the current folder if a launcher made it an absolute path."""
    return _relative(sys.orig_argv[0])


def _relative(path: str) -> str:
    inside = os.path.isabs(path) and Path(path).is_relative_to(Path.cwd())
    return str(Path(path).relative_to(Path.cwd())) if inside else path


def _without_options(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """Removes from the end of a command line what is also at the end of the program's options."""
    count = 0
    while count < min(len(words), len(options)) and words[-1 - count] == options[-1 - count]:
        count += 1
    return list(words[: len(words) - count])
