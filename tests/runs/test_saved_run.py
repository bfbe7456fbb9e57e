"""A run folder as what it leaves."""

import json
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.errors import UserError
from cnn.runs.checkpoints import CheckpointFolder, load_checkpoint, save_checkpoint
from cnn.runs.saved_run import NetworkSettings, SavedRun, open_run
from cnn.settings.settings import read_settings
from tests.hostile import JSON, YAML, altered_json, examples, read_or_sentence

MakeRun = Callable[..., SavedRun]


@pytest.fixture
def run(make_run: MakeRun) -> SavedRun:
    return make_run("--model", "fcnn", "--seed", 3, "--l2", 0.25)


def weights(run: SavedRun, checkpoint: str) -> list[np.ndarray]:
    network, _ = run.load_network(checkpoint)
    return [variable.value.numpy() for variable in network.variables]


def refusal(call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_settings_come_back(run: SavedRun) -> None:
    assert open_run(run.folder) == run
    assert (run.settings.model.model, run.settings.run.seed, run.settings.merged["l2"]) == ("fcnn", 3, 0.25)
    assert SavedRun.from_plain(json.loads(json.dumps(run.plain()))) == run


def test_the_weights_are_those_of_the_checkpoint(run: SavedRun) -> None:
    for checkpoint, step in (("best", 5), ("last", 9), ("5", 5), ("9", 9)):
        assert run.load_network(checkpoint)[1] == step
        arrays, _ = load_checkpoint(CheckpointFolder(run.folder / "checkpoints").path(step))
        saved = [array for name, array in arrays.items() if name.startswith("model/")]
        assert len(saved) == 2
        for mine, theirs in zip(weights(run, checkpoint), saved, strict=True):
            assert np.array_equal(mine, theirs)


def test_averaged_weights_are_what_counts(run: SavedRun) -> None:
    checkpoints = CheckpointFolder(run.folder / "checkpoints")
    arrays, record = load_checkpoint(checkpoints.path(9))
    average = {name.replace("model/", "average/"): 7 * array for name, array in arrays.items()}
    checkpoints.save(12, {**average, **arrays}, record, best=False)
    for mine, latest in zip(weights(run, "12"), weights(run, "9"), strict=True):
        assert np.array_equal(mine, 7 * latest)


def test_checkpoints_that_are_not_there(run: SavedRun) -> None:
    assert refusal(run.load_network, "7") == (
        f"unknown checkpoint of {run.folder} '7': choose one of best, last, 5, 9."
    )
    for path in (run.folder / "checkpoints").iterdir():
        path.unlink()
    assert "holds no checkpoint" in refusal(run.load_network, "best")


def test_a_damaged_checkpoint_and_one_of_another_run(run: SavedRun) -> None:
    checkpoints = CheckpointFolder(run.folder / "checkpoints")
    arrays, record = load_checkpoint(checkpoints.path(5))
    checkpoints.save(10, arrays, {**record, "data_checksum": "other"}, best=False)
    assert "was trained on other data" in refusal(run.load_network, "10")
    checkpoints.save(11, {**arrays, "model/new": np.zeros(1)}, record, best=False)
    assert "is from another network" in refusal(run.load_network, "11")
    checkpoints.path(11).write_bytes(b"nothing")
    assert "is damaged" in refusal(run.load_network, "11")


def test_what_is_no_run_folder(run: SavedRun, tmp_path: Path) -> None:
    assert refusal(open_run, run.folder / "none") == f"{run.folder}/none does not exist; did you mean {run.folder}?"
    for path in (tmp_path / "none", tmp_path / ("x" * 300)):
        advice = f"name a folder that jobs/train.py has written, {run.folder} for example."
        assert refusal(open_run, path) == f"{path} does not exist: {advice}"
    for path in (run.folder / "settings.yaml", run.folder / "checkpoints", run.folder.parent):
        assert refusal(open_run, path) == f"{path} holds no run; did you mean {run.folder}?"
    assert refusal(open_run, run.folder.with_name("runn")).endswith(f"runn does not exist; did you mean {run.folder}?")
    for content in ("model: nonsense", "learning_rte: 1", "- 1", "model: [", "\0"):
        (run.folder / "settings.yaml").write_text(content)
        assert f"the settings in {run.folder} cannot be used: " in refusal(open_run, run.folder)


def test_a_run_folder_must_be_named() -> None:
    assert "--run_dir is missing" in refusal(NetworkSettings)


def test_hostile_settings_are_refused_and_nothing_in_them_runs(run: SavedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.folder)
    before = sorted(run.folder.iterdir())
    for content in YAML:
        (run.folder / "settings.yaml").write_text(content)
        assert f"the settings in {run.folder} cannot be used: " in refusal(open_run, run.folder)
    assert sorted(run.folder.iterdir()) == before


@examples(60)
@given(st.data())
def test_any_record_of_a_checkpoint_is_used_or_is_one_sentence(run: SavedRun, data: st.DataObject) -> None:
    path = CheckpointFolder(run.folder / "checkpoints").path(9)
    record = {"data_checksum": run.data.checksum, "progress": {"step": 9}}
    save_checkpoint(
        path, {"model/a": np.ones(1)}, data.draw(altered_json(record) | st.just({"progress": data.draw(JSON)}))
    )
    found = read_or_sentence(lambda: run.weights("last"), str(path), UserError)
    if found is not None:
        assert list(found[0]) == ["a"]
        assert type(found[1]) is int


@pytest.mark.parametrize("name", ["-x", "two\nlines", "caf\udce9", "a'b\"c$(d)", "gr\u00f6\u00dfe"])
def test_folders_of_any_name(run: SavedRun, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(run.folder.parent)
    run.folder.rename(name)
    moved = open_run(Path(name))
    assert moved.settings == run.settings
    assert moved.weights("best")[1] == 5
    (Path(name) / "data.json").unlink()
    assert "which wrote no data.json" in refusal(open_run, Path(name))


def test_a_folder_that_is_a_link_and_one_that_leads_nowhere(run: SavedRun, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run.folder.name)
    assert open_run(tmp_path / "link").weights("last")[1] == 9
    (tmp_path / "nowhere").symlink_to("gone")
    assert "nowhere holds no run" in refusal(open_run, tmp_path / "nowhere")


@pytest.mark.parametrize(
    "changed", [{"image_shape": [1024, 1024, 1], "input_shape": [1024, 1024, 1]}, {"class_names": ["x"] * 2_000_000}]
)
def test_a_network_that_is_larger_than_its_checkpoint_is_not_built(make_run: MakeRun, changed: dict) -> None:
    run = make_run("--model", "lenet5" if "image_shape" in changed else "fcnn")
    file = run.folder / "data.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "is from another network than" in refusal(open_run(run.folder).checkpoint_path, "best")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # kilobytes


def test_what_a_link_in_the_place_of_settings_leads_to_is_not_shown(run: SavedRun, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("daemon:x:0:0\n")
    (run.folder / "settings.yaml").unlink()
    (run.folder / "settings.yaml").symlink_to(tmp_path / "secret")
    for read in (open_run, lambda folder: read_settings(folder / "settings.yaml")):
        assert refusal(read, run.folder).endswith("is a link to something else.")
