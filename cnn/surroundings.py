"""What must be right around a program before it imports anything else. Any Python 3 can read this and tell its user."""

import importlib.util
import os
import platform
import shlex
import sys


def look_around() -> None:
    """Ends the process by a sentence and exit code 2 where this Python, or its folder, is not one to work in."""
    _open_standard_files()
    mistake = _wrong_python() or _no_folder()
    if mistake:
        sys.stderr.write("error: " + mistake + "\n")
        sys.exit(2)


def use_utf8() -> None:
    """Starts the program again where it would take names and texts for something else than UTF-8: what it writes under
    such a locale, the names of classes for example, would be other names elsewhere."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _open_standard_files() -> None:
    """Gives standard input, output and error to /dev/null where they are closed: the next file that is opened, a
    checkpoint for example, would else take that number, and get all that is printed."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free: this one
        if getattr(sys, name) is None:
            stream = os.fdopen(descriptor, "w" if descriptor else "r", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _wrong_python() -> str:
    if sys.version_info[:2] == (3, 11) and importlib.util.find_spec("tensorflow"):
        return ""
    environment = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), ".venv")
    python, activate = (shlex.quote(os.path.join(environment, "bin", name)) for name in ("python", "activate"))
    set_up = "" if os.path.exists(os.path.join(environment, "bin", "python")) else "run launch/setup.sh, then "
    return (
        f"{sys.executable} (Python {platform.python_version()}) is not the Python that this project is installed for: "
        f"{set_up}start it with {python}, or `source {activate}` first."
    )


def _no_folder() -> str:
    try:
        os.getcwd()
    except OSError as error:
        return f"the folder that this was started in cannot be entered any more ({error.strerror}): cd to another one."
    return ""
