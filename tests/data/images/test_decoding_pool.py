"""How the processes that decode images end."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cnn.data.images.decoding_pool import decoding_pool
from cnn.errors import RunError

_LARGE = 200_000_000
"""Bytes, which no pipe or socket takes at once."""


def _kill_while_main_thread_writes() -> None:
    calls = Path(f"/proc/self/task/{os.getpid()}/syscall")
    for _ in range(1_000_000):
        call = calls.read_text().split()
        if len(call) > 3 and int(call[3], 16) > _LARGE // 2:  # write(file, data, length)
            os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nothing large was written")


def _be_killed_while_returning() -> bytes:
    threading.Thread(target=_kill_while_main_thread_writes, daemon=True).start()
    return bytes(_LARGE)


def _fail() -> None:
    raise FileNotFoundError("this file")


def test_a_process_killed_within_its_answer_ends_the_work() -> None:
    refused = pytest.raises(RunError, match="was killed or ran out of memory: free some memory and start again.")
    with refused, decoding_pool(2, "start again") as pool:
        pool.submit(_be_killed_while_returning).result(timeout=60)
    assert not multiprocessing.active_children()


def test_other_errors_are_the_callers() -> None:
    with pytest.raises(FileNotFoundError, match="this file"), decoding_pool(1, "start again") as pool:
        pool.submit(_fail).result()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(("ends", "code"), [("sys.exit(143)", 143), ("os.kill(os.getpid(), 9)", -9)])
def test_all_processes_of_a_program_may_get_the_signal(tmp_path: Path, ends: str, code: int) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, sys\n"
        "import numpy as np\n"
        "from PIL import Image\n"
        "from cnn.data.images.image_chunks import read_images\n"
        "def end(*_):\n"
        f"    {ends}\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGTERM, end)\n"
        "    Image.fromarray(np.zeros((900, 900, 3), np.uint8)).save('image.png')\n"
        "    for chunk in read_images(['image.png'] * 5_000, (900, 900, 3), 2):\n"
        "        print(flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, program],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "\n"
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)  # ends when no process holds stderr
    assert process.returncode == code
    assert errors == ""
