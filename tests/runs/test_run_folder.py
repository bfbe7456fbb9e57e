"""Who may use a run folder."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest

from cnn.errors import RunError, UserError
from cnn.runs.checkpoints import CheckpointFolder
from cnn.runs.run_folder import (
    check_room,
    check_same,
    check_unused,
    default_folder,
    environment_of,
    in_one_unit,
    make_new_folder,
    record_settings,
    reserve_folder,
    start_folder,
    write_environment,
)
from cnn.settings.settings import read_settings, write_settings

SETTINGS = {"model": "lenet5", "seed": 1, "learning_rate": 0.001, "epochs": 2, "run_dir": "x", "resume": False}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that has two checkpoints."""
    folder = tmp_path / "deep" / "run"
    start_folder(folder, SETTINGS)
    for step in (13, 26):
        CheckpointFolder(folder / "checkpoints").save(step, {"a": np.zeros(1)}, {}, best=False)
    return folder


def refusal(call, *arguments: object) -> str:
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_default_name_tells_data_network_and_time() -> None:
    assert re.fullmatch(r"runs/digits-fcnn-\d{8}-\d{6}", str(default_folder("digits", "fcnn")))


MAKING = """
import sys
from pathlib import Path
from cnn.runs.run_folder import make_new_folder
sys.stdin.readline()
print(*(make_new_folder(Path("runs/a")) for _ in range(50)), sep="\\n")
"""


def test_each_of_many_gets_a_new_folder_of_its_own(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", MAKING]
    every = [
        subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True, cwd=tmp_path, env=environment) for _ in range(3)
    ]
    made = [name for each in every for name in each.communicate("go\n")[0].split()]
    assert sorted(made) == sorted(["runs/a", *(f"runs/a-{number}" for number in range(2, 151))])


def test_a_new_folder_where_none_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    assert "cannot be written" in refusal(make_new_folder, tmp_path / "runs" / "a")


def test_a_new_folder_holds_the_settings(run: Path) -> None:
    assert read_settings(run / "settings.yaml") == SETTINGS


HOLDING = """
import sys
from pathlib import Path
from cnn.runs.folder_lock import lock_folder
print(lock_folder(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def test_one_process_at_a_time_writes_a_run(run: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLDING, run], stdin=PIPE, stdout=PIPE, text=True)
    assert other.stdout is not None
    assert int(other.stdout.readline()) > 0
    with pytest.raises(RunError, match=f"process {other.pid} on .* is using the run folder .*run: wait until it ends"):
        reserve_folder(run, patience=0)
    threading.Thread(target=other.kill).start()  # which lets nobody wait for it
    reserve_folder(run)
    other.communicate()
    with pytest.raises(RunError, match=f"process {os.getpid()} on"):
        reserve_folder(run, patience=0)


def test_a_folder_without_a_run_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    start_folder(tmp_path, SETTINGS)
    assert read_settings(tmp_path / "settings.yaml") == SETTINGS


def test_a_folder_with_a_run_is_not_started_again(run: Path) -> None:
    assert "already holds a run" in refusal(check_unused, run)
    assert read_settings(run / "settings.yaml") == SETTINGS


@pytest.mark.parametrize("place", ["file/run", "file", "x" * 300])
def test_a_folder_that_cannot_be_made(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    assert "cannot be written" in refusal(start_folder, tmp_path / place, SETTINGS)


def test_going_on_from_the_last_step_with_more_epochs(run: Path) -> None:
    more = {**SETTINGS, "epochs": 9, "run_dir": "y", "resume": True, "steps": 5, "save_every": 3, "log_every": 1}
    more |= {"resident_mb": 0, "patience": 2, "stop_after": "8h", "class_table": True}
    more |= {"metrics_port": 9400, "metrics_address": "0.0.0.0"}
    more |= {"histograms_every": 7, "profile_steps": "5:6", "profile_ranks": "all"}
    check_same(run, more)
    assert read_settings(run / "settings.yaml") == SETTINGS  # until it has gone on
    record_settings(run, more)
    assert read_settings(run / "settings.yaml") == {**more, "resume": False}  # so that others can repeat it


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"seed": 2}, "seed (1 there, 2 now)"),
        ({"learning_rate": 0.1}, "learning_rate (0.001 there, 0.1 now)"),
        ({"model": "fcnn", "seed": 3}, "model (lenet5 there, fcnn now), seed (1 there, 3 now)"),
        ({"flip": True}, "flip (False there, True now)"),
    ],
)
def test_other_settings_are_named(run: Path, changed: dict, told: str) -> None:
    assert f"was made with other settings: {told};" in refusal(check_same, run, {**SETTINGS, **changed})
    assert read_settings(run / "settings.yaml") == SETTINGS


def test_settings_that_an_earlier_version_did_not_know_are_their_defaults(run: Path) -> None:
    check_same(run, {**SETTINGS, "flip": False, "validation_fraction": 0.1})


def test_a_rate_that_an_earlier_version_did_not_record_is_that_of_the_optimizer(run: Path) -> None:
    write_settings(run / "settings.yaml", {**SETTINGS, "optimizer": "sgd", "learning_rate": None})
    check_same(run, {**SETTINGS, "optimizer": "sgd", "learning_rate": 0.1})
    told = refusal(check_same, run, {**SETTINGS, "optimizer": "sgd", "learning_rate": 0.2})
    assert "other settings: learning_rate (0.1 there, 0.2 now);" in told


def test_a_setting_that_there_is_no_more_is_told_with_its_line(run: Path) -> None:
    (run / "settings.yaml").write_text("model: lenet5\ngone: 3\n")
    with pytest.raises(RunError, match=r"settings.yaml, line 2: there is no setting 'gone'; leave it out"):
        check_same(run, SETTINGS)


def test_what_a_schedule_follows_from_may_not_differ(run: Path) -> None:
    more = {**SETTINGS, "epochs": 9}
    told = refusal(check_same, run, more, {"epochs", "steps"})
    assert "other settings: epochs (" in told
    assert told.endswith("The learning rates of all its steps depend on its length.")
    assert "learning rates" not in refusal(check_same, run, {**SETTINGS, "seed": 2}, {"epochs", "steps"})
    assert read_settings(run / "settings.yaml") == SETTINGS


@pytest.mark.parametrize("place", ["none", "file/run", "x" * 300])
def test_no_run_to_go_on_with(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    assert "found no run" in refusal(check_same, tmp_path / place, SETTINGS)


def test_environment(tmp_path: Path) -> None:
    write_environment(tmp_path, environment_of({"world_size": 2}, "abc"))
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert environment["topology"] == {"world_size": 2}
    assert environment["data_checksum"] == "abc"
    assert {"python", "keras", "numpy", "horovod"} <= environment["versions"].keys()


def test_a_disk_without_room_for_the_checkpoints(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    for folder in (tmp_path, tmp_path / "not" / "there"):
        check_room(folder, free // 8)
    assert re.search(r"MB free, but this run's checkpoints need [\d,]+ MB", refusal(check_room, tmp_path, free))


@pytest.mark.parametrize(
    ("less", "more", "texts"),
    [
        (0, 131_072, ("0 kB", "132 kB")),
        (300, 131_072, ("300 bytes", "131,072 bytes")),
        (5_000_000, 5_000_001, ("5 MB", "6 MB")),
        (5_999_999, 6_000_000, ("5 MB", "6 MB")),
        (0, 12, ("0 bytes", "12 bytes")),
    ],
)
def test_what_there_is_and_what_is_needed_are_not_told_alike(less: int, more: int, texts: tuple[str, str]) -> None:
    assert in_one_unit(less, more) == texts


def test_a_folder_that_is_a_link_and_one_that_leads_nowhere(run: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run)
    assert "already holds a run" in refusal(check_unused, tmp_path / "link")
    check_same(tmp_path / "link", {**SETTINGS, "epochs": 9})
    record_settings(tmp_path / "link", {**SETTINGS, "epochs": 9})
    assert read_settings(run / "settings.yaml")["epochs"] == 9
    (tmp_path / "empty").mkdir()
    (tmp_path / "new").symlink_to("empty")
    start_folder(tmp_path / "new", SETTINGS)
    assert read_settings(tmp_path / "empty" / "settings.yaml") == SETTINGS
    (tmp_path / "nowhere").symlink_to("gone")
    assert "nowhere cannot be written (File exists)" in refusal(start_folder, tmp_path / "nowhere", SETTINGS)
    assert "found no run in" in refusal(check_same, tmp_path / "nowhere", SETTINGS)


@pytest.mark.parametrize("content", ["1: 2", "seed: !!int x", "model: &a [*a]", "- 1"])
def test_settings_that_are_none_are_told(run: Path, content: str) -> None:
    (run / "settings.yaml").write_text(content)
    with pytest.raises(RunError, match="settings") as caught:
        check_same(run, SETTINGS)
    assert "\n" not in str(caught.value)
