"""The results of a finished run: its figure and summary in the run folder, and its last words."""

import dataclasses
import sys
from collections.abc import Mapping

from cnn.cluster.ranks.collectives import Cluster
from cnn.learner.evaluation import Evaluation
from cnn.monitoring.figures.confusion import class_rows, class_table
from cnn.monitoring.figures.figure import draw_curves
from cnn.monitoring.records.metrics import read_metrics
from cnn.monitoring.records.summary import closing_paragraph, write_json
from cnn.monitoring.timing.goodput import Goodput
from cnn.runs.needs import Needs
from cnn.runs.next_steps import next_steps
from cnn.runs.prepared_run import PreparedRun
from cnn.runs.step_times import StepTimer
from cnn.terminal import columns


def write_results(
    *,
    cluster: Cluster,
    prepared: PreparedRun,
    test: Evaluation,
    seconds: float,
    step_timer: StepTimer,
    whole: Goodput,
    needs: Mapping[str, Needs | None],
) -> None:
    """Writes curves.png and summary.json, and prints the result; called by rank 0.

    Args:
        cluster: the workers.
        prepared: the run, whose state is now that of its end.
        test: the network's metrics on the test part.
        seconds: duration of this job.
        step_timer: the times of this job's steps.
        whole: where the time of the run went.
        needs: what training needed, by `predicted` and `measured`.
    """
    folder, settings, order, state = prepared.folder, prepared.settings, prepared.order, prepared.state
    figure = folder / "curves.png"
    title = f"{settings.model.model} on {settings.data.data}, {settings.optimizer.optimizer}"
    draw_curves(read_metrics(folder / "metrics.jsonl"), figure, title, folder, state.best_step)
    accuracy = test.totals["accuracy"]
    times, limits = step_timer.overall()
    summary = {
        "model": settings.model.model,
        "data": settings.data.data,
        "world_size": cluster.world_size,
        "steps": state.step,
        "epochs": state.step / order.steps_per_epoch,
        "best_step": state.best_step,
        "ended_early": state.step < prepared.total_steps,
        "patience": settings.run.patience,
        **{f"test_{name}": mean for name, mean in test.means.items()},
        "test_correct": int(accuracy.sums[0]),
        "test_count": int(accuracy.samples[0]),
        "images_per_second": state.images / state.training_seconds if state.training_seconds else None,
        "seconds": seconds,
        "seconds_per_step": None if times is None else times.parts,
        "limits": [sentence for _, sentence in limits],
        "goodput": {"share": whole.share, "seconds": whole.seconds},
        "run_dir": str(folder),
        "figure": str(figure),
        **{name: None if each is None else dataclasses.asdict(each) for name, each in needs.items()},
    }
    write_json(folder / "summary.json", summary)
    if settings.run.class_table:
        print(f"\n{class_table(class_rows(prepared.dataset.class_names, test.confusion))}")
    commands = next_steps(cluster, settings, order, folder, summary)
    print("\n" + closing_paragraph(summary, commands, columns(sys.stdout)), flush=True)
