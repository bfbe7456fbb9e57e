"""Trains a network on images, with as many workers as the launcher starts.

python jobs/train.py --model lenet5-like --data digits
horovodrun -np 2 python jobs/train.py --model lenet5 --data fashion-mnist --epochs 5 --run_dir runs/a
python jobs/train.py --model vgg16 --data oxflower17 --plan 8
"""

import cnn  # noqa: F401  # first, so that Ctrl-C during later imports prints no traceback

# isort: split
import dataclasses
import os
import sys
from typing import TYPE_CHECKING

from cnn.cluster.launchers.process import launch_from_environment
from cnn.cluster.ranks.job import Job
from cnn.cluster.ranks.run_job import run_job
from cnn.measuring.plan import PlanSettings, check_alone, describe_plan
from cnn.output import warn_of_lost_output
from cnn.quiet_import import import_tensorflow_quietly
from cnn.settings.settings import TrainingSettings, parse_settings

if TYPE_CHECKING:
    from cnn.cluster.ranks.collectives import Cluster


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(TrainingSettings):
    """The settings of a run, and of its plan, which no run records."""

    plan: PlanSettings


def parse() -> TrainingSettings:
    """Reads the settings; prints the plan, as --help its text, and exits, if one is requested."""
    settings = parse_settings(str(__doc__), Settings)
    training = TrainingSettings(
        **{field.name: getattr(settings, field.name) for field in dataclasses.fields(TrainingSettings)}
    )
    if settings.plan.workers:
        check_alone(launch_from_environment(os.environ))
        import_tensorflow_quietly()
        print(describe_plan(training, settings.plan))
        sys.exit(0)
    return training


def body(cluster: "Cluster", settings: TrainingSettings, job: Job) -> None:
    from cnn.runs.train import train  # imports TensorFlow: seconds that --help should not take

    warn_of_lost_output(job.note)
    train(cluster, settings, job)


if __name__ == "__main__":
    run_job(parse, body, lambda settings: settings.step.reproducible)
