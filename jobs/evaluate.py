"""Evaluates the network of a run, overall and per class, with as many workers as the launcher starts.

python jobs/evaluate.py --run_dir runs/a
horovodrun -np 2 python jobs/evaluate.py --run_dir runs/a --checkpoint last --part validation
"""

import cnn  # noqa: F401  # first, so that Ctrl-C during later imports prints no traceback

# isort: split
import dataclasses
from typing import TYPE_CHECKING

from cnn.cluster.ranks.job import Job
from cnn.cluster.ranks.run_job import run_job
from cnn.runs.saved_run import NetworkSettings
from cnn.settings.settings import parse_settings
from cnn.trained.run_evaluation import EvaluationSettings, evaluate_run

if TYPE_CHECKING:
    from cnn.cluster.ranks.collectives import Cluster


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of an evaluation."""

    network: NetworkSettings
    evaluation: EvaluationSettings


def parse() -> Settings:
    return parse_settings(str(__doc__), Settings)


def body(cluster: "Cluster", settings: Settings, job: Job) -> None:
    evaluate_run(cluster, settings.network, settings.evaluation)


if __name__ == "__main__":
    run_job(parse, body)
