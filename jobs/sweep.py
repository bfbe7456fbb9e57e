"""Trains all combinations of a recipe's settings, several in parallel, and compares them: table, figures, TensorBoard.

python jobs/sweep.py --recipe jobs/recipes/tutorial-mnist.yaml --data_dir DIR
python jobs/sweep.py --recipe jobs/recipes/tutorial-mnist.yaml --data_dir DIR --epochs 2 --sweep_dir runs/short

Training settings on the command line override the recipe's. The same command resumes an interrupted sweep: completed
runs are not repeated, others are resumed. A run that diverges is a result, not a failure of the sweep.
"""

import cnn  # noqa: F401  # first, so that Ctrl-C during later imports prints no traceback

# isort: split
import os
import sys
from pathlib import Path

from cnn.errors import report_errors
from cnn.monitoring.records.comparison import result_line
from cnn.monitoring.terminal.sweep_progress import SweepProgress
from cnn.settings.settings import TrainingSettings, parse_given
from cnn.shown_text import on_one_line
from cnn.sweeps.sweep import OUTPUT, Run, SweepSettings, check_recipe, find_runs, reserve, train_runs
from cnn.sweeps.sweep_results import closing_lines, read_result, write_results
from cnn.terminal import has_terminal


def main() -> int:
    settings, given = parse_given(str(__doc__), SweepSettings, TrainingSettings)
    terminal = has_terminal(sys.stdout, os.environ)
    found = check_recipe(settings, given)
    with reserve(settings.folder) as lock:
        runs = find_runs(settings.folder, found)
        ended = sum(run.ended for run in runs)
        folder = on_one_line(str(settings.folder))
        print(f"{len(runs)} runs, {ended} of them already done, in {folder}; the output of each is in its {OUTPUT}")
        progress = SweepProgress(len(runs), ended, sys.stdout, terminal)

        def on_start(run: Run) -> None:
            progress.started(run.combination.name)

        def on_end(run: Run) -> None:
            progress.ended(run.combination.name, result_line(read_result(run)))

        try:
            train_runs(settings, runs, Path(__file__).with_name("train.py"), lock, on_start, on_end)
        finally:
            progress.close()
        results = write_results(settings.folder, runs)
    print(closing_lines(settings.folder, results))
    return 1 if any(result.outcome == "failed" for result in results) else 0


if __name__ == "__main__":
    with report_errors("run the same command again to resume", starts_ranks=True):
        sys.exit(main())
