"""Signals on their way to mpirun; tests/cluster_hosts ends real jobs by them."""

import signal
import subprocess
import sys

import pytest

LAUNCHER = """
import signal, sys
wanted = {signal.SIGUSR1, signal.SIGTERM, signal.SIGINT}
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
print("ready", flush=True)
while True:
    number = signal.sigwait(wanted)
    print(number.name, flush=True)
    if number == signal.SIGTERM:
        sys.exit(7)
"""
STARTED = "import sys; from cnn.cluster.supervision import run_mpirun; run_mpirun(sys.argv[1:])"


def start(program: str) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", STARTED, sys.executable, "-c", program]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_request_to_end_lets_the_ranks_save_and_the_second_ends(number: signal.Signals) -> None:
    process = start(LAUNCHER)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == "SIGUSR1\n"
    process.send_signal(signal.SIGUSR1)  # a warning is handed on as often as it comes
    assert process.stdout.readline() == "SIGUSR1\n"
    process.send_signal(number)
    assert process.stdout.readline() == "SIGTERM\n"
    assert process.wait(timeout=60) == 7


def test_what_it_runs_ends_with_it() -> None:
    process = start(LAUNCHER)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    assert process.stdout.read() == "SIGTERM\n"  # and nobody holds the pipe any longer
    process.wait(timeout=60)


@pytest.mark.parametrize(
    ("program", "code"), [("raise SystemExit(75)", 75), ("import os; os.kill(os.getpid(), 9)", 128 + 9), ("", 0)]
)
def test_exit_codes(program: str, code: int) -> None:
    process = start(program)
    process.communicate(timeout=60)
    assert process.returncode == code
