"""A program of this project as a child process: its output is printed here, and its error raised."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from cnn.errors import RunError, StoppedError, UserError

_SECONDS_BETWEEN_CALLS = 1.0

# Asks the kernel for SIGTERM if this process ends, for example because the notebook is restarted. Not by subprocess's
# preexec_fn, as this process may have TensorFlow's threads, with which forked Python code can deadlock.
_END_WITH_PARENT = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.argv[1], sys.argv[1:])"


class Child:
    """Starts a program; a context manager that waits for its end, and ends it if it is left by an exception.

    Args:
        command: the program's absolute path and its arguments.
        environment: its environment variables.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.last_words = ""
        """The line in which the program says why it ended early."""

        self._rest = b""
        # In a session of its own, so that Jupyter's and the terminal's interrupts reach only this process.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _END_WITH_PARENT, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def follow(self, on_pause: Callable[[], None]) -> None:
        """Prints the program's lines until it ends; meanwhile calls `on_pause`, at least every second."""
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(output, select.POLLIN)
        while True:
            if poll.poll(1000 * _SECONDS_BETWEEN_CALLS):
                content = os.read(output, 1 << 16)
                if not content:
                    break
                self._print(content)
            on_pause()
        self._print(b"\n" if self._rest else b"")
        self._process.wait()

    def stop(self) -> None:
        """Interrupts the program and waits for its end; a KeyboardInterrupt meanwhile interrupts it again."""
        while self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(KeyboardInterrupt):
                self.follow(lambda: None)

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    def raise_error(self) -> None:
        """Raises the error that the program has reported, if it failed.

        Raises:
            UserError: it reported a mistake of the user.
            StoppedError: it was stopped by a signal from elsewhere.
            RunError: it could not continue.
        """
        code = self._process.returncode
        if code == 0:
            return
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        message = re.sub(r"^\w+: (rank \d+: )?", "", self.last_words) or f"training ended {how}: see its output."
        kinds = {UserError.exit_code: UserError, StoppedError.exit_code: StoppedError}
        raise kinds.get(code, RunError)(message)

    def _print(self, content: bytes) -> None:
        *lines, self._rest = (self._rest + content).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace").rstrip("\r")
            if text.startswith((f"{RunError.label}: ", f"{StoppedError.label}: ")) and not self.last_words:
                self.last_words = text
            else:
                print(text, flush=True)

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        self._process.__exit__(None, None, None)
