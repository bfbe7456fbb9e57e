"""Exports the network of a run to a Keras file, a SavedModel, ONNX or TFLite, which load without this package.

python jobs/export.py --run_dir runs/a
python jobs/export.py --run_dir runs/a --formats onnx tflite
"""

import cnn  # noqa: F401  # first, so that Ctrl-C during later imports prints no traceback

# isort: split
import dataclasses
import os

from cnn.cluster.launchers.left_over import refuse_ranks
from cnn.errors import report_errors
from cnn.runs.saved_run import NetworkSettings
from cnn.settings.settings import parse_settings
from cnn.trained.export import ExportSettings, export_run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of an export."""

    network: NetworkSettings
    export: ExportSettings


def main() -> None:
    refuse_ranks(os.environ)
    settings = parse_settings(str(__doc__), Settings)
    export_run(settings.network, settings.export)


if __name__ == "__main__":
    with report_errors():
        main()
