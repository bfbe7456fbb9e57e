"""The measured step and its parts, side by side."""

import json
from pathlib import Path
from typing import Any

from cnn.monitoring.figures.step_figure import step_figure, write_report
from tests.monitoring.drawn import overlaps


def row(workers: int, step: float, *parts: float) -> dict[str, Any]:
    names = ("input_seconds", "compute_seconds", "update_seconds", "exchange_seconds")
    return {
        "workers": workers,
        "global_batch_size": 32 * workers,
        "images_per_second": 32 * workers / step,
        "step_seconds": step,
        **dict(zip(names, parts, strict=True)),
    }


ROWS = [row(1, 0.2, 0.01, 0.16, 0.02, 0.0), row(4, 0.25, 0.01, 0.19, 0.03, 0.04)]


def test_the_measured_step_stands_beside_its_parts() -> None:
    axes = step_figure("alexnet", ROWS, Path("runs/a")).axes[0]
    bars = {bar.get_label(): [patch.get_bbox() for patch in bar] for bar in axes.containers}
    assert list(bars) == ["measured step", "input", "compute", "update", "exchange"]
    assert [round(bar.height, 6) for bar in bars["measured step"]] == [200, 250]
    assert [round(bar.y1, 6) for bar in bars["exchange"]] == [190, 270]
    assert all(step.x1 <= part.x0 for step, part in zip(bars["measured step"], bars["input"], strict=True))


def test_nothing_lies_on_anything_else() -> None:
    for number in (1, 2, 8):
        rows = [row(workers, 0.2, 0.01, 0.16, 0.02, 0.02) for workers in range(1, number + 1)]
        figure = step_figure("alexnet", rows, Path("runs/a"))
        assert not overlaps(figure)
        assert figure.get_suptitle() == "alexnet, 32 samples per worker\nruns/a"


def test_files(tmp_path: Path) -> None:
    write_report(tmp_path / "report", "alexnet", ROWS)
    assert json.loads((tmp_path / "report" / "benchmark.json").read_text()) == {"model": "alexnet", "measured": ROWS}
    assert (tmp_path / "report" / "benchmark.png").read_bytes().startswith(b"\x89PNG")
