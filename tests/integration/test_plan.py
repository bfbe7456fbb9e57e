"""Plans, and whether runs then need what was planned."""

import json
from pathlib import Path

import pytest

DIGITS = ("--model", "lenet5-like", "--data", "digits", "--global_batch_size", 90)
ALEXNET = ("--model", "alexnet", "--data", "synthetic", "--image_size", 67, "--optimizer", "momentum")


def needs(folder: Path) -> tuple[dict[str, int], dict[str, int]]:
    summary = json.loads((folder / "summary.json").read_text())
    return summary["predicted"], summary["measured"]


def value(output: str, name: str) -> str:
    return next(line for line in output.splitlines() if line.startswith(name)).removeprefix(name).strip()


@pytest.mark.parametrize(
    ("workers", "launcher", "exchange"), [(1, "none", "auto"), (2, "horovodrun", "auto"), (3, "mpirun", "sharded")]
)
def test_a_run_needs_what_was_planned(jobs, tmp_path: Path, workers: int, launcher: str, exchange: str) -> None:
    run = (*DIGITS, "--exchange", exchange, "--epochs", 2, "--run_dir", tmp_path / "run")
    code, plan = jobs.run("jobs/train.py", *run, "--plan", workers)
    assert code == 0, plan
    assert not (tmp_path / "run").exists()
    code, output = jobs.run("jobs/train.py", *run, launcher=launcher, workers=workers)
    assert code == 0, output
    predicted, measured = needs(tmp_path / "run")
    assert value(plan, "steps").startswith(f"{predicted['steps']:,}:")
    assert predicted["steps"] == measured["steps"] == 30
    assert predicted["sent_bytes"] == pytest.approx(measured["sent_bytes"], rel=0.02)
    assert (measured["sent_bytes"] > 0) == (workers > 1)
    assert predicted["checkpoint_bytes"] == pytest.approx(measured["checkpoint_bytes"], rel=0.02)
    assert value(plan, "memory of each device").startswith(f"{predicted['memory_bytes'] / 1e6:,.1f} MB")

    code, again = jobs.run("jobs/train.py", *run, "--resume", "--plan", workers)
    assert code == 0, again
    assert f"{measured['memory_bytes']:,}" in value(again, "  memory_bytes")


def test_a_small_network_needs_the_memory_that_was_planned(jobs, tmp_path: Path) -> None:
    code, output = jobs.run("jobs/train.py", *DIGITS, "--epochs", 1, "--run_dir", tmp_path / "run")
    assert code == 0, output
    predicted, measured = needs(tmp_path / "run")
    assert predicted["memory_bytes"] == pytest.approx(measured["memory_bytes"], rel=0.1)


def test_alexnet_needs_the_memory_that_was_planned(jobs, tmp_path: Path) -> None:
    run = (*ALEXNET, "--global_batch_size", 8, "--steps", 3, "--run_dir", tmp_path / "run")
    code, output = jobs.run("jobs/train.py", *run)
    assert code == 0, output
    predicted, measured = needs(tmp_path / "run")
    assert predicted["memory_bytes"] == pytest.approx(measured["memory_bytes"], rel=0.1)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--plan", 0], ["--plan 0", "1 or more"]),
        (["--plan", 91], ["--global_batch_size 90", "91 workers"]),
        (["--plan", 2, "--resume"], ["--resume found no run in"]),
    ],
)
def test_a_mistake_is_one_sentence(jobs, tmp_path: Path, words: list[object], parts: list[str]) -> None:
    code, output = jobs.run("jobs/train.py", *DIGITS, "--run_dir", tmp_path / "run", *words)
    assert code == 2, output
    assert len(output.splitlines()) == 1
    for part in parts:
        assert part in output
    assert not (tmp_path / "run").exists()


def test_a_plan_needs_no_launcher(jobs) -> None:
    code, output = jobs.run("jobs/train.py", *DIGITS, "--plan", launcher="mpirun", workers=2)
    assert code == 2, output
    assert "without a launcher" in output
    assert "--plan 2" in output


def test_a_plan_starts_neither_horovod_nor_mpi(jobs, tmp_path: Path) -> None:
    for name in ("horovod", "mpi4py"):
        (tmp_path / f"{name}.py").write_text("raise AssertionError('imported')")
    code, output = jobs.run(
        "jobs/train.py", *DIGITS, "--plan", 64, PYTHONPATH=f"{tmp_path}:{jobs.environment['PYTHONPATH']}"
    )
    assert code == 0, output
    assert "with 64 workers" in output
