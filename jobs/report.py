"""Reports where the time of a run went, over all its starts: training that was kept, and everything else.

python jobs/report.py runs/a

The table is printed, and drawn as goodput.png in the run's folder.
"""

import cnn  # noqa: F401  # first, so that Ctrl-C during later imports prints no traceback

# isort: split
import dataclasses
import os
from pathlib import Path

from cnn.choices import positional
from cnn.cluster.launchers.left_over import refuse_ranks
from cnn.errors import UserError, report_errors
from cnn.monitoring.figures.goodput_report import draw_goodput, goodput_table
from cnn.monitoring.timing.goodput import goodput
from cnn.runs.saved_run import check_holds_run
from cnn.runs.time_record import read_times
from cnn.settings.settings import parse_settings
from cnn.shown_text import on_one_line


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """The run."""

    run_dir: str | None = positional()
    """Its folder."""

    def __post_init__(self) -> None:
        if self.run_dir is None:
            raise UserError("--run_dir is missing: name the run's folder, as in `jobs/report.py runs/a`.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a report."""

    report: ReportSettings


def main() -> None:
    refuse_ranks(os.environ)
    settings = parse_settings(str(__doc__), Settings)
    folder = Path(str(settings.report.run_dir))
    check_holds_run(folder)
    starts = read_times(folder)
    if not starts:
        raise UserError(f"{folder} has no record of its times: an earlier version trained it, or no step was begun.")
    whole = goodput(starts)
    print(goodput_table(whole))
    figure = folder / "goodput.png"
    try:
        draw_goodput(whole, figure, on_one_line(str(folder)))
    except OSError as error:
        raise UserError(f"{figure} cannot be written ({error.strerror}): make room, or fix its permissions.") from error
    print(f"\nThe figure is {on_one_line(str(figure))}.")


if __name__ == "__main__":
    with report_errors():
        main()
