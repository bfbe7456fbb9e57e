"""TensorBoard shows the settings and the results of a sweep's runs side by side."""

import subprocess
import sys
from pathlib import Path

from cnn.monitoring.events import EventWriter
from cnn.monitoring.hyperparameters import Session, write_hyperparameters

from .tensorboard_server import get_when, tensorboard


def sessions(folder: Path) -> list[Session]:
    """Two runs that are done and one that diverged before anything was measured."""
    for name, accuracy in (("a", 0.75), ("b", 0.5)):
        writer = EventWriter(folder / name / "events", None)
        writer.scalars("train", 10, {"accuracy": 0.25})
        writer.scalars("validation", 20, {"accuracy": accuracy - 0.125})
        writer.scalars("test", 20, {"accuracy": accuracy})
        writer.close()
    return [
        Session(folder=folder / "a", settings={"optimizer": "adam", "learning_rate": 0.5, "flip": True}, done=True),
        Session(folder=folder / "b", settings={"optimizer": "sgd", "learning_rate": 1, "flip": False}, done=True),
        Session(folder=folder / "c", settings={"optimizer": None, "learning_rate": 2.0, "flip": False}, done=False),
    ]


def test_tensorboard_compares_the_runs(tmp_path: Path) -> None:
    write_hyperparameters(sessions(tmp_path))
    write_hyperparameters(sessions(tmp_path))  # again, as a sweep that goes on does
    with tensorboard(tmp_path) as (process, address):
        plugin = f"{address}/data/plugin/hparams"
        experiment = get_when(process, f"{plugin}/experiment", ready="learning_rate", posted={"includeMetrics": True})
        columns = {info["name"]: (info["type"], info.get("domainDiscrete")) for info in experiment["hparamInfos"]}
        assert columns == {
            "optimizer": ("DATA_TYPE_STRING", ["adam", "default", "sgd"]),
            "learning_rate": ("DATA_TYPE_FLOAT64", [0.5, 1.0, 2.0]),
            "flip": ("DATA_TYPE_BOOL", [False, True]),
        }
        metrics = [(info["name"], info["displayName"]) for info in experiment["metricInfos"]]
        assert metrics == [
            ({"group": "events/test", "tag": "accuracy"}, "test accuracy"),
            ({"group": "events/validation", "tag": "accuracy"}, "validation accuracy at the end"),
        ]
        question = {
            "allowedStatuses": ["STATUS_SUCCESS", "STATUS_FAILURE"],
            "colParams": [{"metric": name, "includeInResult": True} for name, _ in metrics]
            + [{"hparam": name, "includeInResult": True} for name in columns],
            "sliceSize": 10,
        }
        ready = ('"a"', '"b"', '"c"', "0.75", "0.625", "0.5", "0.375")
        groups = get_when(process, f"{plugin}/session_groups", ready, question)["sessionGroups"]
        rows = {}
        for group in groups:
            session = group["sessions"][0]
            values = {metric["name"]["group"]: metric["value"] for metric in session["metricValues"]}
            rows[session["name"]] = (group["hparams"], session["status"], values)
        assert rows == {
            "a": (
                {"optimizer": "adam", "learning_rate": 0.5, "flip": True},
                "STATUS_SUCCESS",
                {"events/test": 0.75, "events/validation": 0.625},
            ),
            "b": (
                {"optimizer": "sgd", "learning_rate": 1.0, "flip": False},
                "STATUS_SUCCESS",
                {"events/test": 0.5, "events/validation": 0.375},
            ),
            "c": ({"optimizer": "default", "learning_rate": 2.0, "flip": False}, "STATUS_FAILURE", {}),
        }


def test_it_does_not_load_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from cnn.monitoring.hyperparameters import *\n"
        "write_hyperparameters([Session(folder=pathlib.Path(sys.argv[1]), settings={'a': 1}, done=True)])\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code, tmp_path], cwd=root, check=False).returncode == 0
