"""The range test of learning rates, as a job."""

import re
from pathlib import Path


def test_several_workers_find_what_one_finds(jobs, tmp_path: Path) -> None:
    figure = tmp_path / "rates.png"
    said, figures = [], []
    for workers in (1, 2):
        code, output = jobs.run(
            *("jobs/find_learning_rate.py", "--data", "digits", "--model", "lenet5-like", "--precision", "float64"),
            *("--optimizer", "momentum", "--figure", figure),
            launcher="none" if workers == 1 else "mpirun",
            workers=workers,
        )
        assert code == 0, output
        said.append(output)
        figures.append(figure.read_bytes())
    assert re.search(r"a third of [0-9.e-]+\. Written to ", said[0])
    assert said[1] == said[0]  # one rank speaks
    assert figures[1] == figures[0]
