"""A simulated cluster on this machine: `python -m tests.integration.simulated_cluster [--lost] WORKERS... [OPTIONS]`.

Runs `jobs/benchmark.py --control_path` with many workers, which are forked from one process that has imported
TensorFlow, and prints its tables. With --lost, a worker is killed in the middle of the steps instead, and how long the
others take to end, and what they say, is printed.

HOROVOD_CYCLE_TIME is 20 ms unless it is set: hundreds of threads that look for messages every half millisecond would
take all the time of a few cores.
"""

import argparse
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from .conftest import ENVIRONMENT, ROOT
from .preloaded import Preloaded
from .processes import process_started_as, until

SECONDS = 3600
SMALL = ("--model", "lenet5-like", "--data", "synthetic", "--scaling", "strong", "--batch_size", "256")


def main() -> None:
    parser = argparse.ArgumentParser(usage=str(__doc__).partition("`")[2].partition("`")[0])
    parser.add_argument("workers", nargs="+", type=int)
    parser.add_argument("--lost", action="store_true")
    parser.add_argument("--seconds", type=float, default=0.1, help="seconds that a step waits")
    options, more = parser.parse_known_args()
    environment = {**ENVIRONMENT, "HOROVOD_CYCLE_TIME": "20"} | {
        name: value for name, value in os.environ.items() if name.startswith(("HOROVOD_", "OMPI_", "CNN_"))
    }
    with tempfile.TemporaryDirectory() as folder:
        environment |= {"TMPDIR": folder}
        environment.setdefault("CNN_CACHE_DIR", f"{folder}/cache")
        benchmark = ["jobs/benchmark.py", *SMALL, "--control_path", str(options.seconds), *more]
        with Preloaded(Path(folder, "socket"), environment, SECONDS, keep_shared=True) as preloaded:
            for workers in options.workers:
                begin = time.monotonic()
                if options.lost:
                    lose_a_rank(workers, benchmark, preloaded, environment, Path(folder))
                    continue
                code, output = preloaded.run([*benchmark, "--workers", str(workers)], ROOT, environment)
                print(output if code else output[output.index(f"\n{workers} workers\n") :], flush=True)
                print(f"exit code {code}; {time.monotonic() - begin:.1f} s in all", flush=True)


def lose_a_rank(
    workers: int, benchmark: Sequence[str], preloaded: Preloaded, environment: dict[str, str], folder: Path
) -> None:
    """Kills the rank in the middle when the job has computed some steps."""
    command = ["mpirun", "--oversubscribe", "-np", str(workers), str(preloaded.script), *benchmark]
    command += ["--benchmark_steps", "1000000", "--output", f"{folder}/result.json"]
    with tempfile.TemporaryFile("w+") as output:
        job = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            until(lambda: any(folder.glob("tmp*/run/checkpoints/*")), job, SECONDS)
            run = next(folder.glob("tmp*/run"))
            os.kill(process_started_as(workers // 2, "run", "--control_path"), signal.SIGKILL)
            killed = time.monotonic()
            log = run / "failure.log"
            until(lambda: job.poll() is not None or log.exists(), job, SECONDS)
            noticed = time.monotonic() - killed
            job.wait(SECONDS)
            ended = time.monotonic() - killed
        finally:
            job.kill()
        output.seek(0)
        said = output.read()
        lines = log.read_text().splitlines() if log.exists() else []
        found = {
            "workers": workers,
            "exit code": job.returncode,
            "seconds until a rank had noticed": round(noticed, 2),
            "seconds until all had ended": round(ended, 2),
            "lines in failure.log": len(lines),
            "errors printed": said.count("error: "),
        }
        print(json.dumps(found), lines[:1], flush=True)


if __name__ == "__main__":
    main()
