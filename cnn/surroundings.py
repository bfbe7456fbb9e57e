"""Checks before a program imports anything else; any Python 3 can parse this file and so report its version."""

import importlib.util
import os
import platform
import shlex
import sys


def check_surroundings() -> None:
    """Ends the process with a message and exit code 2 if this Python or the working folder is unusable."""
    _open_standard_files()
    problem = _unsuitable_python() or _missing_folder()
    if problem:
        sys.stderr.write("error: " + problem + "\n")
        sys.exit(2)


def use_utf8() -> None:
    """Restarts the program in UTF-8 mode if the locale has another encoding.

    Otherwise names that the program writes, for example of classes, would be read differently under other locales.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _open_standard_files() -> None:
    """Opens /dev/null for closed standard input, output or error.

    Otherwise the next opened file, for example a checkpoint, would get that descriptor, and printed text with it.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free descriptor: this one
        if getattr(sys, name) is None:
            stream = os.fdopen(descriptor, "w" if descriptor else "r", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _unsuitable_python() -> str:
    if (3, 11) <= sys.version_info[:2] <= (3, 13) and importlib.util.find_spec("tensorflow"):
        return ""
    environment = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), ".venv")
    python, activate = (shlex.quote(os.path.join(environment, "bin", name)) for name in ("python", "activate"))
    set_up = "" if os.path.exists(os.path.join(environment, "bin", "python")) else "run launch/setup.sh, then "
    return (
        f"{sys.executable} (Python {platform.python_version()}) is not the Python that this project is installed for: "
        f"{set_up}start it with {python}, or `source {activate}` first."
    )


def _missing_folder() -> str:
    try:
        os.getcwd()
    except OSError as error:
        return f"the current folder cannot be used any more ({error.strerror}): cd to another one."
    return ""
