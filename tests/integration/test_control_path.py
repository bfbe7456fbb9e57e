"""What surrounds the steps of a run, with several real workers."""

import json
from pathlib import Path

import pytest

WORKERS = (2, 3)
SMALL = ("--model", "fcnn", "--data", "digits", "--scaling", "strong", "--batch_size", 100, "--benchmark_steps", 3)

START = {"settings compared": 3, "start decided": 1, "data": 4, "network": 5, "run folder": 2}
"""Collectives until a run has its folder; each is a message to all workers."""

RUN = {**START, "broadcast": 6, "weights compared": 2, "times compared": 1, "evaluation": 6, "checkpoint": 2}
RESUMED = {**START, "network": 4, "run folder": 1, "broadcast": 3, "weights compared": 2, "evaluation": 1, "stop": 1}


@pytest.fixture(scope="module")
def measured(preloaded, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict]:
    """The results by number of workers."""
    from .conftest import Jobs

    jobs, found = Jobs(cache, preloaded), {}
    for workers in WORKERS:
        file = tmp_path_factory.mktemp("control_path") / "result.json"
        measuring = ("--control_path", 0.01, "--output", file)
        code, output = jobs.run("jobs/benchmark.py", *SMALL, *measuring, launcher="mpirun", workers=workers)
        assert code == 0, output
        found[workers] = json.loads(file.read_text())
    return found


def test_no_phase_has_more_messages_with_more_workers(measured) -> None:
    expected = {**RUN, **{f"resumed: {name}": count for name, count in RESUMED.items()}}
    for workers in WORKERS:
        counts = {each["name"]: each["collectives"] for each in measured[workers]["phases"]}
        assert {name: count for name, count in counts.items() if count} == expected, workers
        in_step = {each["name"]: each["compiled_collectives"] for each in measured[workers]["phases"]}
        assert {name: count for name, count in in_step.items() if count} == {"steps": 1, "resumed: steps": 1}


def test_every_moment_is_measured(measured) -> None:
    for workers in WORKERS:
        phases = measured[workers]["phases"]
        assert [each["name"] for each in phases[:3]] == ["connection", "settings compared", "start decided"]
        assert all(each["max_seconds"] >= each["seconds"] > 0 for each in phases)
        assert min(measured[workers]["private_bytes"]) > 2**20


def test_only_rank_0_opens_files_of_the_run(measured) -> None:
    for workers in WORKERS:
        own, most_of_others = measured[workers]["opened_files"]["run"]
        assert own > 0
        assert most_of_others == 0


def test_mistakes_get_one_sentence(jobs) -> None:
    for arguments, said in (
        (("--control_path", -1), "--control_path -1.0 is not in [0, 3600)"),
        (("--control_path", 1, "--reproducible"), "--control_path has no steps for"),
    ):
        code, output = jobs.run("jobs/benchmark.py", *SMALL, *arguments)
        assert (code, output.count("\n")) == (2, 1), output
        assert output.startswith(f"error: {said}"), output
