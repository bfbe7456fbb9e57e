"""TensorBoard shows the settings and the results of a sweep's runs side by side."""

from pathlib import Path

from cnn.monitoring.tensorboard.events import EventWriter
from cnn.monitoring.tensorboard.hyperparameters import (
    BEST_ACCURACY,
    Session,
    session_end,
    session_start,
    write_hyperparameters,
)

from ...fresh_process import loads
from ..tensorboard_server import get_when, tensorboard

SETTINGS = {
    "a": {"model": "vgg", "optimizer": "adam", "learning_rate": 0.5, "flip": True},
    "b": {"model": "vgg", "optimizer": "sgd", "learning_rate": 1, "flip": False},
    "c": {"model": "vgg", "optimizer": None, "learning_rate": 2.0, "flip": False},
}


def sessions(folder: Path) -> list[Session]:
    """Two runs that are done and one that diverged before anything was measured."""
    for name, accuracy in (("a", 0.75), ("b", 0.5)):
        (folder / name).mkdir(exist_ok=True)
        writer = EventWriter(folder / name, None)
        if name == "a":  # as a run describes itself
            writer.add(0, lambda: [session_start({**SETTINGS["a"], "seed": 1})])
        writer.scalars(10, {"accuracy/train": 0.25})
        writer.scalars(10, {"accuracy/validation": accuracy - 0.125, BEST_ACCURACY: accuracy - 0.125})
        writer.scalars(20, {"accuracy/validation": 0.0625})
        writer.scalars(20, {"accuracy/test": accuracy})
        if name == "a":
            writer.add(20, lambda: [session_end(done=True)])
        writer.close()
    return [Session(folder=folder / name, settings=SETTINGS[name], done=name != "c") for name in SETTINGS]


def test_tensorboard_compares_the_runs(tmp_path: Path) -> None:
    write_hyperparameters(sessions(tmp_path))
    write_hyperparameters(sessions(tmp_path))  # again, as a sweep that goes on does
    with tensorboard(tmp_path) as (process, address):
        plugin = f"{address}/data/plugin/hparams"
        experiment = get_when(process, f"{plugin}/experiment", ready="learning_rate", posted={"includeMetrics": True})
        columns = {info["name"]: (info["type"], info.get("domainDiscrete")) for info in experiment["hparamInfos"]}
        assert columns == {
            "optimizer": ("DATA_TYPE_STRING", ["adam", "sgd"]),
            "learning_rate": ("DATA_TYPE_FLOAT64", [0.5, 1.0, 2.0]),
            "flip": ("DATA_TYPE_BOOL", [False, True]),
        }
        metrics = [(info["name"], info["displayName"]) for info in experiment["metricInfos"]]
        assert metrics == [
            ({"group": "", "tag": "accuracy/test"}, "test accuracy"),
            ({"group": "", "tag": "accuracy/best"}, "best validation accuracy"),
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
            values = {metric["name"]["tag"]: metric["value"] for metric in session["metricValues"]}
            rows[session["name"]] = (group["hparams"], session["status"], values)
        assert rows == {
            "a": (
                {"optimizer": "adam", "learning_rate": 0.5, "flip": True},
                "STATUS_SUCCESS",
                {"accuracy/test": 0.75, "accuracy/best": 0.625},
            ),
            "b": (
                {"optimizer": "sgd", "learning_rate": 1.0, "flip": False},
                "STATUS_SUCCESS",
                {"accuracy/test": 0.5, "accuracy/best": 0.375},
            ),
            "c": ({"learning_rate": 2.0, "flip": False}, "STATUS_FAILURE", {}),
        }


def test_of_runs_that_are_not_of_a_sweep_tensorboard_finds_what_differs(tmp_path: Path) -> None:
    for name, settings in SETTINGS.items():
        (tmp_path / name).mkdir()
        writer = EventWriter(tmp_path / name, None)
        writer.add(0, lambda settings=settings: [session_start(settings)])  # type: ignore[misc]
        writer.scalars(1, {"loss/train": 1.0, "accuracy/test": 0.5, BEST_ACCURACY: 0.25})
        writer.close()
    with tensorboard(tmp_path) as (process, address):
        url = f"{address}/data/plugin/hparams/experiment"
        ready = (*SETTINGS["a"], '"sgd"', "2.0", "loss/train")
        experiment = get_when(process, url, ready, posted={"includeMetrics": True})
    differs = {info["name"]: info.get("differs", False) for info in experiment["hparamInfos"]}
    assert differs == {"model": False, "optimizer": True, "learning_rate": True, "flip": True}
    # The tab shows the first few; the user chooses others.
    assert [info["name"]["tag"] for info in experiment["metricInfos"]] == [
        *("accuracy/best", "accuracy/test", "loss/train")
    ]


def test_it_does_not_load_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from cnn.monitoring.tensorboard.hyperparameters import *\n"
        "write_hyperparameters([Session(folder=pathlib.Path(sys.argv[1]), settings={'a': 1}, done=True)])"
    )
    assert not loads("tensorflow", code, tmp_path)
