"""Starts a job whose workers may be lost, and may be joined by others, while it trains.

  bash launch/elastic.sh ./hosts.sh --min 2 --max 8 -- --model vgg16 --data oxflower17 --run_dir runs/flowers

The script prints the hosts that there are now, NAME:RANKS on each line, and is asked every second. What follows --
goes to jobs/train.py. Started again, the job resumes the run in --run_dir.
"""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cnn.cluster.horovodrun import subprocess_command
from cnn.cluster.host_script import ask
from cnn.cluster.hosts import Host
from cnn.cluster.interface import interface_to
from cnn.cluster.left_over import prepare_launch
from cnn.errors import UserError, report_errors
from cnn.launching.host_check import check_path
from cnn.launching.launcher import Parser, divide_arguments, find_launchers
from cnn.launching.supervision import run_horovodrun

_PROGRAM = "jobs/train.py"

_COOLDOWN = ("10", "120")
"""Seconds that a host is left alone when ranks of it were lost: two to three times the first, then longer, and the
second at most."""


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and what follows -- for the program; UserError for what no hosts could make a job of."""
    own, settings = divide_arguments(arguments)
    parser = Parser(
        prog="launch/elastic.sh",
        usage="%(prog)s SCRIPT [options] -- --run_dir FOLDER ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("script", metavar="SCRIPT", type=Path, help="prints the hosts")
    parser.add_argument("--min", type=int, default=1, help="ranks without which training waits for hosts")
    parser.add_argument("--max", type=int, help="ranks at most; else as many as the hosts take")
    parser.add_argument("--wait", type=int, default=600, help="seconds to wait for --min ranks")
    parser.add_argument("--interface", default=os.environ.get("CNN_INTERFACE"), help="network interface")
    parser.add_argument("--dry_run", action="store_true", help="print the command, and run nothing")
    given = parser.parse_args(own)
    if given.min < 1 or (given.max is not None and given.max < given.min):
        raise UserError(
            f"--min {given.min} --max {given.max} are no numbers of ranks: give --min from 1, --max from --min on."
        )
    if not ("--run_dir" in settings[:-1] or any(word.startswith("--run_dir=") for word in settings)):
        raise UserError("--run_dir is missing after --: name the run's folder; another start will resume it.")
    return given, settings


def program_for(settings: Sequence[str]) -> list[str]:
    """The command line of a rank, which resumes the run if there is one, unless it is told otherwise."""
    return [sys.executable, _PROGRAM, "--resume", "auto", *settings]


def command_for(given: argparse.Namespace, hosts: Sequence[Host]) -> list[str]:
    """The command for horovodrun, which is to begin on these hosts, as far as the program's."""
    room = sum(host.slots for host in hosts)
    limits = ["--min-np", str(given.min)] + ([] if given.max is None else ["--max-np", str(given.max)])
    times = ["--start-timeout", str(given.wait), "--elastic-timeout", str(given.wait)]
    script = str(given.script.absolute())
    command = ["horovodrun", "--gloo", "-np", str(min(room, given.max or room)), *limits, *times]
    command += ["--host-discovery-script", script, "--slots-per-host", "1", "--blacklist-cooldown-range", *_COOLDOWN]
    return [*command, "--network-interfaces", given.interface or interface_to([host.name for host in hosts])]


def await_ranks(script: Path, least: int, seconds: float) -> list[Host]:
    """The hosts that the script names once they take so many ranks; UserError when they do not in time."""
    deadline = time.monotonic() + seconds
    while True:
        hosts = ask(script)
        room = sum(host.slots for host in hosts)
        if room >= least:
            return hosts
        if time.monotonic() > deadline:
            raise UserError(
                f"the hosts of {script} take {room} ranks after {seconds:.0f} s, --min is {least}: look at what it "
                "prints."
            )
        time.sleep(1)


def main() -> None:
    """Waits for hosts, and runs horovodrun."""
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
    run_horovodrun(subprocess_command(command), program, elastic=True)


if __name__ == "__main__":
    with report_errors(starts_ranks=True):
        main()
