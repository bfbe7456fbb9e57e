"""Predicts the classes of images by the network of a run.

python jobs/predict.py --run_dir runs/a --images cat.jpg dog.png
python jobs/predict.py --run_dir runs/a --images photographs --top 5
python jobs/predict.py --run_dir runs/a --images @names.txt

Files that cannot be read are left out, named at the end, and listed with the reasons in left_out.csv. The exit code is
0 if at least one image was predicted, and 2 if none could be read or a name is wrong. If a prediction is interrupted,
the rows written so far are in predictions.csv.unfinished.
"""

import cnn  # noqa: F401  # first, so that Ctrl-C during later imports prints no traceback

# isort: split
import dataclasses
import os
import signal
import sys

from cnn.cluster.launchers.left_over import refuse_ranks
from cnn.errors import report_errors
from cnn.runs.saved_run import NetworkSettings
from cnn.settings.settings import parse_settings
from cnn.trained.prediction import PredictionSettings, predict


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a prediction."""

    network: NetworkSettings
    prediction: PredictionSettings


def main() -> None:
    refuse_ranks(os.environ)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends child processes, too
    settings = parse_settings(str(__doc__), Settings)
    predict(settings.network, settings.prediction)


if __name__ == "__main__":
    with report_errors("run it again to predict all images"):
        main()
