"""The benchmark as a user runs it."""

import json
import re
from pathlib import Path


def test_it_says_where_the_time_goes(jobs, tmp_path: Path) -> None:
    small = ("--model", "lenet5-like", "--data", "synthetic", "--batch_size", 8, "--benchmark_steps", 3, "--repeats", 2)
    predict = ("--predict", 8, 64, "--link", "1gbit")
    report = ("--exchange", "factored", "--report", tmp_path / "report")
    code, output = jobs.run("jobs/benchmark.py", *small, "--workers", 2, 1, *predict, *report)
    assert code == 0, output
    one, two = json.loads((tmp_path / "report" / "benchmark.json").read_text())["measured"]
    assert (one["workers"], two["workers"]) == (1, 2)
    assert two["rates"]["sent_per_second"] > 0
    assert two["factored"] == ["fc1/kernel", "fc2/kernel", "logits/kernel"]
    kernels = 576 * 120 + 120 * 84 + 84 * 10
    rows_of_factors = 576 + 120 + 120 + 84 + 84 + 10
    assert two["sent_bytes"] == 4 * (83_126 - kernels + 8 * rows_of_factors)
    assert (tmp_path / "report" / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    for workers in ("1 worker", "2 workers"):  # what it is doing
        assert f"{workers}: building the network\n" in output
        assert f"{workers}: compiling 'step'\n" in output
        assert f"{workers}: done\n" in output
    output, _, prediction = output.partition("\npredicted, each worker with a link of 1gbit:\n")
    head, *rows = prediction.splitlines()
    assert re.fullmatch(r"workers +img/s +efficiency +step ms +MB sent +allreduce only *", head.strip())
    assert [row.split()[0] for row in rows] == ["8", "64"]
    head, *rows = output.splitlines()[-3:]
    names = [
        "workers",
        "batch",
        "img/s",
        "spread",
        "efficiency",
        "step",
        "ms",
        "input",
        "compute",
        "update",
        "exchange",
    ]
    assert head.split()[:11] == names
    assert [row.split()[:2] for row in rows] == [["1", "8"], ["2", "16"]]
    shown = [[float(each) for each in row.replace("%", "").split()[5:10]] for row in rows]
    assert all(row[0] > 0 and min(row) >= 0 for row in shown)  # the step, then its parts
    assert shown[0][4] == 0  # one worker has nobody to exchange with


def test_mistakes_get_one_sentence(jobs) -> None:
    for arguments, said in (
        (("--workers", 0), "0 is not a number of workers, samples or steps"),
        (("--exchange", "ring"), "unknown exchange 'ring'"),
        (("--predict", 8, "--link", "fast"), "'fast' is not the rate of a link"),
        (("--precision", "float8"), "unknown precision 'float8'"),
        (("--costs", "none.json"), "none.json cannot be read (No such file or directory)"),
        (("--costs", "README.md"), "README.md was not written by --output"),
        (("--compression", "zip"), "unknown compression 'zip'"),
        (("--workers", 2, "--launcher", "mprun -H a:1"), "--launcher 'mprun -H a:1' is neither mpirun nor horovodrun"),
    ):
        code, output = jobs.run("jobs/benchmark.py", *arguments)
        assert (code, output.count("\n")) == (2, 1), output
        assert output.startswith(f"error: {said}"), output
