"""Starts an elastic job, which continues when workers are lost or others join.

  bash launch/elastic.sh ./hosts.sh --min 2 --max 8 -- --model vgg16 --data oxflower17 --run_dir runs/flowers

The script is run every second and prints the current hosts, NAME:RANKS on each line. Arguments after -- are passed to
jobs/train.py. Started again, the job resumes the run in --run_dir.
"""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cnn.cluster.hosts.host_script import run_host_script
from cnn.cluster.hosts.hosts import Host
from cnn.cluster.hosts.interface import interface_to
from cnn.cluster.launchers.command_line import COMMAND
from cnn.cluster.launchers.horovodrun import subprocess_command
from cnn.cluster.launchers.left_over import prepare_launch
from cnn.errors import UserError, report_errors
from cnn.launching.host_check import check_path
from cnn.launching.launcher import Parser, divide_arguments, find_launchers, script_command
from cnn.launching.supervision import run_horovodrun

_PROGRAM = "jobs/train.py"

_COOLDOWN = ("10", "120")
"""Bounds, in seconds, of the time in which a host that has lost ranks gets none: at first two to three times the lower,
then longer, at most the upper."""


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parses the options, and returns the program's arguments after -- unparsed; UserError if they cannot be valid."""
    options, settings = divide_arguments(arguments)
    parser = Parser(
        prog="launch/elastic.sh",
        usage="%(prog)s SCRIPT [options] -- --run_dir FOLDER ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("script", metavar="SCRIPT", type=Path, help="program that prints the hosts")
    parser.add_argument("--min", type=int, default=1, help="minimum number of ranks: with fewer, training waits")
    parser.add_argument("--max", type=int, help="maximum number of ranks; default: all that the hosts offer")
    parser.add_argument("--wait", type=int, default=600, help="seconds to wait for --min ranks")
    parser.add_argument("--interface", default=os.environ.get("CNN_INTERFACE"), help="network interface")
    parser.add_argument("--dry_run", action="store_true", help="print the command instead of running it")
    given = parser.parse_args(options)
    if given.min < 1 or (given.max is not None and given.max < given.min):
        raise UserError(
            f"--min {given.min} --max {given.max} is not a range of ranks: choose 1 or more, and --max not below --min."
        )
    words = [word.replace("--run-dir", "--run_dir", 1) for word in settings]
    if not ("--run_dir" in words[:-1] or any(word.startswith("--run_dir=") for word in words)):
        raise UserError("--run_dir is missing after --: name the run's folder, so that another start can resume it.")
    return given, settings


def program_for(settings: Sequence[str]) -> list[str]:
    """The command line of a rank, which resumes an existing run unless the settings say otherwise."""
    return [sys.executable, _PROGRAM, "--resume", "auto", *settings]


def command_for(given: argparse.Namespace, hosts: Sequence[Host]) -> list[str]:
    """The horovodrun command up to the program; the job starts on these hosts."""
    slots = sum(host.slots for host in hosts)
    limits = ["--min-np", str(given.min)] + ([] if given.max is None else ["--max-np", str(given.max)])
    times = ["--start-timeout", str(given.wait), "--elastic-timeout", str(given.wait)]
    script = str(given.script.absolute())
    command = ["horovodrun", "--gloo", "-np", str(min(slots, given.max or slots)), *limits, *times]
    command += ["--host-discovery-script", script, "--slots-per-host", "1", "--blacklist-cooldown-range", *_COOLDOWN]
    return [*command, "--network-interfaces", given.interface or interface_to([host.name for host in hosts])]


def await_ranks(script: Path, min_ranks: int, seconds: float) -> list[Host]:
    """Waits until the hosts that the script prints offer `min_ranks` ranks; UserError if they do not in time."""
    deadline = time.monotonic() + seconds
    while True:
        hosts = run_host_script(script)
        slots = sum(host.slots for host in hosts)
        if slots >= min_ranks:
            return hosts
        if time.monotonic() > deadline:
            raise UserError(
                f"the hosts of {script} offer {slots} ranks after {seconds:.0f} s, --min is {min_ranks}: check what it "
                "prints."
            )
        time.sleep(1)


def main() -> None:
    """Waits for the hosts, and runs horovodrun."""
    given, settings = parse(sys.argv[1:])
    prepare_launch(os.environ, "gloo", interactive=sys.stdin is not None and sys.stdin.isatty())
    find_launchers()
    hosts = await_ranks(given.script, given.min, given.wait)
    check_path(hosts, sys.executable)
    program = program_for(settings)
    command = [*command_for(given, hosts), *program]
    if given.dry_run:
        print(shlex.join(command))
        return
    os.environ[COMMAND] = script_command("elastic", divide_arguments(sys.argv[1:])[0])
    run_horovodrun(subprocess_command(command), program, elastic=True)


if __name__ == "__main__":
    with report_errors(starts_ranks=True):
        main()
