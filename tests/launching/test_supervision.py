"""Signals on their way to mpirun and to horovodrun's ranks; tests/cluster_hosts ends real jobs by them."""

import signal
import subprocess
import sys

import pytest

LAUNCHER = """
import signal, sys
wanted = {signal.SIGUSR1, signal.SIGTERM, signal.SIGINT}
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
print("ready\\n", end="", flush=True)
while True:
    number = signal.sigwait(wanted)
    print(number.name, flush=True)
    if number == signal.SIGTERM:
        sys.exit(7)
"""
STARTED = """
import signal, sys
from cnn.launching.supervision import run_mpirun
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it
run_mpirun(sys.argv[1:])
"""
RANK = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
print("rank\\n", end="", flush=True)  # in one piece, though unbuffered
print("to a rank:", signal.sigwait({signal.SIGUSR1}).name, flush=True)
"""
OF_RANKS = f"""
import os, signal, subprocess, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that a shell that has ended is gone at once
reset = lambda: signal.signal(signal.SIGCHLD, signal.SIG_DFL)
shell = ["sh", "-c", 'A=1 "$@"; exit $?', "sh", *sys.argv[2:]]
ranks = [subprocess.Popen(shell, preexec_fn=reset) for _ in range(int(sys.argv[1]))]
{LAUNCHER.replace("sys.exit", "os.killpg(0, signal.SIGTERM), sys.exit")}"""
"""As horovodrun, which starts ranks through shells."""
OF_SLOW_SHELLS = OF_RANKS.replace(
    "exit $?", "code=$?; i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; echo after a rank; exit $code"
)
STARTED_WITH_RANKS = """
import sys
from cnn.launching.supervision import run_horovodrun
run_horovodrun(sys.argv[2:], sys.argv[6:], elastic=sys.argv[1] == "elastic")
"""


def start(program: str) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", STARTED, sys.executable, "-c", program]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def start_with_ranks(ranks: int, kind: str = "fixed", program: str = OF_RANKS) -> "subprocess.Popen[str]":
    own = [sys.executable, "-c", program, str(ranks)]
    words = [sys.executable, "-c", STARTED_WITH_RANKS, kind, *own, sys.executable, "-c", RANK]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_request_to_end_lets_the_ranks_save_and_the_second_ends(number: signal.Signals) -> None:
    process = start(LAUNCHER)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == "SIGUSR1\n"
    for warning in (signal.SIGUSR1, signal.SIGHUP):  # is handed on as often as it comes
        process.send_signal(warning)
        assert process.stdout.readline() == "SIGUSR1\n"
    process.send_signal(number)
    assert process.stdout.readline() == "SIGTERM\n"
    assert process.wait(timeout=60) == 7


def test_one_rank_of_this_host_is_asked_to_save_and_a_second_time_horovodrun_to_end() -> None:
    process = start_with_ranks(2)
    assert process.stdout is not None
    assert sorted(process.stdout.readline() for _ in range(3)) == ["rank\n", "rank\n", "ready\n"]
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "to a rank: SIGUSR1\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "SIGTERM\n"  # from what stands for horovodrun; no other rank was told
    assert process.wait(timeout=60) == 7


def test_an_elastic_job_ends_after_the_rank_that_was_asked_and_its_shell() -> None:
    process = start_with_ranks(2, "elastic", OF_SLOW_SHELLS)
    assert process.stdout is not None
    assert sorted(process.stdout.readline() for _ in range(3)) == ["rank\n", "rank\n", "ready\n"]
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read() == "to a rank: SIGUSR1\nafter a rank\nSIGTERM\n"
    assert process.wait(timeout=60) == 7


@pytest.mark.parametrize(("kind", "told"), [("fixed", ["SIGTERM"]), ("elastic", ["SIGUSR1", "SIGTERM"])])
def test_horovodrun_whose_ranks_are_all_on_other_hosts_is_told(kind: str, told: list[str]) -> None:
    """That of an elastic job asks them to save first, and ends when they have, or when it is told a second time."""
    process = start_with_ranks(0, kind)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for name in told:
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == f"{name}\n"
    assert process.wait(timeout=60) == 7


@pytest.mark.parametrize(("kind", "code"), [("fixed", 0), ("elastic", 75)])
def test_what_horovodrun_says_of_an_elastic_job_that_was_ended_is_not_that_it_is_done(kind: str, code: int) -> None:
    """It may say so when workers have just come or gone."""
    command = [sys.executable, "-c", LAUNCHER.replace("sys.exit(7)", "sys.exit(0)"), "-", "-", "no rank"]
    words = [sys.executable, "-c", STARTED_WITH_RANKS, kind, *command]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        if process.stdout.readline() == "SIGTERM\n":
            break
    assert process.wait(timeout=60) == code


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_ends_before_it_can_stop_in_good_order_ends_as_if_by_the_signal_that_came(number: signal.Signals) -> None:
    process = start("import signal; print('ready', flush=True); signal.pause()")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number
