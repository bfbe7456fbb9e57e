"""A real TensorBoard to ask over HTTP."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_DEADLINE_SECONDS = 60.0


def read_address(process: "subprocess.Popen[str]", pattern: str) -> str:
    """Waits for the address that a TensorBoard prints to its stderr, a pipe."""
    assert process.stderr is not None
    # Ends at the address, or at the end of the output of a TensorBoard that failed.
    for line in process.stderr:
        if address := re.search(pattern, line):
            return address[0]
    raise AssertionError("TensorBoard ended without printing its address")


@contextmanager
def tensorboard(logdir: Path, *options: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A real TensorBoard; gives its process and address, and ends it and its data server afterwards."""
    command = [
        str(Path(sys.executable).parent / "tensorboard"),
        "--logdir",
        str(logdir),
        "--port",
        "0",
        "--host",
        "127.0.0.1",
    ]
    process = subprocess.Popen(
        [*command, "--reload_interval", "1", *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process, read_address(process, r"http://127\.0\.0\.1:\d+")
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()


def get_when(process: "subprocess.Popen[str]", url: str, ready: str | Sequence[str], posted: Any = None) -> Any:
    """The answer once it holds the text, or all of several: TensorBoard serves before it has read all files."""
    texts = [ready] if isinstance(ready, str) else ready
    request = urllib.request.Request(url)
    if posted is not None:
        request = urllib.request.Request(url, json.dumps(posted).encode(), {"Content-Type": "application/json"})
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while True:
        with urllib.request.urlopen(request, timeout=_DEADLINE_SECONDS) as response:
            answer = json.load(response)
        if all(text in json.dumps(answer) for text in texts):
            return answer
        assert time.monotonic() < deadline, f"not {ready} in {answer}"
        with suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"TensorBoard ended with {process.wait(timeout=0.05)}")
