"""Runs the checks of a GPU machine: see check.sh."""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from .checks import BIN, Check, all_checks

ENOUGH_SECONDS = 20
"""A check that may take longer is not begun with less left."""

FINISHING_SECONDS = 5
"""To end a check whose time is over, and to write the results."""

NO_GPU = 4
"""The exit code of a check that finds no GPU."""

LONGEST_EXCERPT = 30
USUAL_EXCERPT = 14
LONGEST_LINE = 230
RESULTS = ("benchmark-*", "input", "*/environment.json", "*/summary.json")
"""What goes into the archive besides the logs."""


def run(check: Check, seconds: float, log: Path) -> str:
    """Runs the commands of a check one after the other; returns what came of it."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **check.environment}
    end = time.monotonic() + seconds
    with open(log, "wb") as file:
        for command in check.commands:
            code = _run_command(list(map(str, command)), environment, end - time.monotonic(), file)
            if code is None:
                return "time"
            if code:
                return "no GPU" if code == NO_GPU else f"exit {code}"
    return "skipped" if re.search(rb"= \d+ skipped in", log.read_bytes()) else "ok"


def _run_command(command: list[str], environment: dict[str, str], seconds: float, log: BinaryIO) -> int | None:
    """Runs one command and ends whatever it has left behind; returns its exit code, None when its time is over."""
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        return process.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def excerpt(check: Check, log: Path) -> list[str]:
    """The lines of a log that the summary shows."""
    text = log.read_text(errors="replace").replace("\r", "\n")
    lines = [line.rstrip()[:LONGEST_LINE] for line in text.splitlines() if line.strip()]
    if not check.keep:
        return lines[-USUAL_EXCERPT:]
    return [line for line in lines if any(re.search(pattern, line) for pattern in check.keep)][-LONGEST_EXCERPT:]


def choose(checks: Sequence[Check], only: Sequence[str], skip: Sequence[str], first: str | None) -> list[Check]:
    """Those of the checks that are asked for; SystemExit for a name that is not one of theirs."""
    names = [check.name for check in checks]
    unknown = {*only, *skip, *([first] if first else [])} - set(names)
    if unknown:
        sys.exit(f"check: there is no {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    from_first = checks[names.index(first) if first else 0 :]
    return [each for each in from_first if (not only or each.name in only) and each.name not in skip]


def run_all(checks: Sequence[Check], out: Path, work: Path, seconds: float, *, gpu: bool) -> list[dict[str, Any]]:
    """Runs checks as long as there is time, and writes what has come of them after each.

    Args:
        checks: those to run.
        out: folder for results.
        work: folder for runs, data and logs.
        seconds: the time there is.
        gpu: whether there is a GPU; without one, checks that need one are not begun.
    """
    end, rows, summary = time.monotonic() + seconds, [], ""
    for check in checks:
        log = work / "logs" / f"{check.name}.log"
        begin = time.monotonic()
        left, lines = end - begin - FINISHING_SECONDS, list[str]()
        if check.needs_gpu and not gpu:
            result = "no GPU"
        elif left < min(ENOUGH_SECONDS, check.seconds):
            result = "no time"
        else:
            result = run(check, min(check.seconds, left), log)
            lines = excerpt(check, log)
        took = round(time.monotonic() - begin, 1)
        rows.append({"name": check.name, "what": check.what, "result": result, "seconds": took, "lines": lines})
        told = [f"== {check.name:<22} {result:<8} {took:6.1f} s  {check.what}", *(f"   {line}" for line in lines)]
        print("\n".join(told), flush=True)
        summary += "\n".join(told) + "\n"
        (out / "results.json").write_text(json.dumps({"gpu": gpu, "checks": rows}, indent=1))
        (out / "summary.txt").write_text(summary)
        _archive(out / "logs.tar.gz", work)
    return rows


def _archive(file: Path, work: Path) -> None:
    with tarfile.open(file, "w:gz") as archive:
        for path in (work / "logs", *(path for pattern in RESULTS for path in work.glob(pattern))):
            archive.add(path, str(path.relative_to(work)))


def main() -> None:
    """Runs the checks that the command line asks for; exit code 0 when all are ok."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder for results")
    parser.add_argument("--seconds", type=float, default=570, help="for all checks together")
    parser.add_argument("--only", default="", metavar="NAME,...")
    parser.add_argument("--skip", default="", metavar="NAME,...")
    parser.add_argument(
        "--from", dest="first", metavar="NAME", help="the check to begin with; keeps what earlier ones did"
    )
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args()
    if given.out is None and not given.list:
        parser.error("--out is missing: name a folder for the results")
    out = Path(given.out or ".").absolute()
    work = Path(os.environ.get("WORK", "/tmp/gpu-check")).absolute()
    only, skip = ([name for name in names.split(",") if name] for names in (given.only, given.skip))
    chosen = choose(all_checks(out, work), only, skip, given.first)
    if given.list:
        for check in chosen:
            print(f"{check.name:<24} {check.seconds:>4} s at most  {check.what}")
        return
    if not (only or given.first):
        shutil.rmtree(work, ignore_errors=True)
    for folder in (out, work / "logs"):
        folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("CNN_CACHE_DIR", str(work / "data"))
    rows = run_all(chosen, out, work, given.seconds, gpu=any(Path("/dev").glob("nvidia[0-9]*")))
    print("\nname                     result    seconds")
    for row in rows:
        print(f"{row['name']:<24} {row['result']:<9} {row['seconds']:7.1f}")
    print(f"results: {out}/results.json, summary.txt, logs.tar.gz")
    sys.exit(0 if all(row["result"] == "ok" for row in rows) else 1)


if __name__ == "__main__":
    main()
