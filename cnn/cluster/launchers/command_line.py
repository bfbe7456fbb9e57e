"""The command that started this job, as far as it is known, so that advice can be copied and run."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cnn.cluster.launchers.mpirun_process import find_mpirun
from cnn.cluster.launchers.process import Launch
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


def own_words() -> list[str]:
    """This process's command line as words; for a script of this environment, as `horovodrun`, without Python."""
    script = _script()
    return [_python(), *sys.orig_argv[1:]] if script is None else [script, *sys.orig_argv[2:]]


def program_command(name: str) -> str:
    """The command that runs one of the programs in jobs/, `evaluate` for example, by one process."""
    return shell_words(_program(name))


def with_launcher(launcher: Sequence[str]) -> str:
    """The command that runs this program by a launcher of this environment."""
    program = _program(Path(sys.argv[0]).stem)
    return f"{installed_command(launcher[0])} {shell_words([*launcher[1:], *program])}"


def installed_command(name: str) -> str:
    """The command that runs a program of this environment, where the user's shell has found this one."""
    folder = Path(_script() or _python()).parent
    return shell_words([name if folder == Path() else str(folder / name)])


def _program(name: str) -> list[str]:
    script = _script()
    return [_python(), _relative(str(Path(sys.argv[0]).with_name(f"{name}.py")))] if script is None else [script, name]


def _python() -> str:
    """Python, as the user typed it, or relative to the current folder if a launcher made it an absolute path."""
    return _relative(sys.orig_argv[0])


def _script() -> str | None:
    """The script of this environment that runs in this process, as `horovodrun`; None if it is another program."""
    path = Path(sys.orig_argv[1]) if len(sys.orig_argv) > 1 else Path()
    if path.parent.resolve() != Path(sys.executable).parent.resolve():
        return None
    return path.name if shutil.which(path.name) == str(path) else _relative(str(path))


def _relative(path: str) -> str:
    inside = os.path.isabs(path) and Path(path).is_relative_to(Path.cwd())
    return str(Path(path).relative_to(Path.cwd())) if inside else path


def _without_options(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """Removes from the end of a command line what is also at the end of the program's options."""
    count = 0
    while count < min(len(words), len(options)) and words[-1 - count] == options[-1 - count]:
        count += 1
    return list(words[: len(words) - count])
