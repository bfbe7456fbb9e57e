"""The program `cnn`: `cnn train ...` is `python jobs/train.py ...`, and so on for every program in jobs."""

import ast
import importlib
import os
import re
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import cnn
from cnn.errors import UserError, report_errors
from cnn.suggestions import did_you_mean
from cnn.versions import version_line

_FOLDER = Path(cnn.__path__[0]).parent / "jobs"

_FIRST = ("train", "evaluate", "predict", "export", "prepare")
"""The commands that most users need, listed first."""


def programs() -> dict[str, Path]:
    """The programs by the names of their commands."""
    found = {path.stem: path for path in sorted(_FOLDER.glob("*.py"))}
    return {name: found[name] for name in (*_FIRST, *found) if name in found}


def overview() -> str:
    """What `cnn --help` prints: a line for each command."""
    width = max(map(len, programs()))
    lines = [f"  {name:<{width}}  {_summary(path)}" for name, path in programs().items()]
    end = "`cnn COMMAND --help` describes a command, `cnn --version` prints the versions."
    return "\n".join(["usage: cnn COMMAND ...", "", *lines, "", end])


def _summary(path: Path) -> str:
    """The beginning of what the program's docstring says."""
    return re.split("[:,.]", str(ast.get_docstring(ast.parse(path.read_text()))))[0]


def program_of(command: str, known: Mapping[str, Path]) -> Path:
    """The program of a command; UserError when there is none."""
    if command in known:
        return known[command]
    if command.startswith("-"):
        raise UserError(f"{command} stands before the command: write `cnn train {command} ...`, for example.")
    name = Path(command).stem if command.endswith(".py") else command
    advice = did_you_mean(name, known, "cnn ") or f": choose one of {', '.join(known)}."
    raise UserError(f"there is no command {command!r}{advice}")


def main() -> NoReturn:
    """Runs the program of the command."""
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if command in ("-h", "--help", "help", "--version"):
        with report_errors():
            print(version_line() if command == "--version" else overview())
        sys.exit(0)
    try:
        program = program_of(command, programs())
    except UserError as error:
        _refuse(error)
    _run(program)


def _refuse(error: UserError) -> NoReturn:
    """Ends the process, or all processes of a job, with one message."""
    from cnn.cluster.ranks.run_job import run_job

    def parse() -> None:
        raise error

    run_job(parse, lambda *_: None)


def _run(program: Path) -> NoReturn:
    """Runs it in this process as Python does, with the words after the command."""
    sys.argv = [str(program), *sys.argv[2:]]
    sys.path[0] = str(program.parent)
    runpy.run_path(str(program), run_name="__main__")
    sys.exit(0)


def _complete() -> None:
    """Completes the command, or leaves it to the program whose options are to be completed."""
    import argparse

    argcomplete = importlib.import_module("argcomplete")
    _, _, _, words, _ = argcomplete.lexers.split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))
    if len(words) > 1 and words[1] in programs():
        os.environ["_ARGCOMPLETE"] = "2"  # the options begin after two words
        _run(programs()[words[1]])
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=list(programs()))
    parser.add_argument("--version", action="store_true")
    argcomplete.autocomplete(parser)
