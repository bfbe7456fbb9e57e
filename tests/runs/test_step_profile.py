"""Which steps a profile is made of, and that it is made."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from cnn.errors import UserError
from cnn.runs.step_profile import ProfiledSteps, StepProfile, profiled_ranks, profiled_steps


def test_steps_that_the_run_does_not_have() -> None:
    assert profiled_steps(None, 10) is None
    assert profiled_steps("8:10", 10) == (8, 10)
    with pytest.raises(
        UserError, match="--profile_steps 8:11 goes beyond the end of the run, which has 10 steps: choose"
    ):
        profiled_steps("8:11", 10)


def test_ranks_that_the_job_does_not_have() -> None:
    assert profiled_ranks("0", 1) == {0}
    assert profiled_ranks("2,0", 3) == {0, 2}
    assert profiled_ranks("all", 3) == {0, 1, 2}
    with pytest.raises(UserError, match="--profile_ranks 0,3 names rank 3, but 3 workers can have ranks up to 2 only"):
        profiled_ranks("0,3", 3)


def test_calls_are_cut_where_it_begins_and_then_have_one_step_each() -> None:
    profile = StepProfile(ProfiledSteps(5, 8), None, print)
    assert [profile.max_steps(step) for step in (0, 4, 5, 6, 7, 8, 100)] == [5, 1, 1, 1, 1, None, None]
    assert StepProfile(None, None, print).max_steps(5) is None


def run(folder: Path, steps: ProfiledSteps, last: int, work: Callable[[], object]) -> list[str]:
    said: list[str] = []
    profile = StepProfile(steps, folder, said.append)
    for step in range(last):
        with profile.call(step):
            work()
    profile.close()
    profile.close()
    return said


@pytest.mark.parametrize("last", [2, 5])  # it ends, or the run does, having lost its patience
def test_a_profile_is_written(tmp_path: Path, last: int) -> None:
    matrix = tf.random.uniform((8, 8))
    compiled = tf.function(lambda factor: tf.linalg.matmul(factor, factor))
    (sentence,) = run(tmp_path, ProfiledSteps(1, 3), last, lambda: compiled(matrix))
    assert sentence.startswith("a profile for TensorBoard's PROFILE tab")
    assert sentence.endswith(f"is in {tmp_path}/plugins/profile")
    (file,) = (tmp_path / "plugins" / "profile").glob("*/*.xplane.pb")
    assert b"MatMul" in file.read_bytes()
    assert b"step_num" in file.read_bytes()


def test_steps_that_an_earlier_start_took_are_not_profiled(tmp_path: Path) -> None:
    assert run(tmp_path, ProfiledSteps(0, 0), 3, lambda: None) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["file", "caf\udce9"])
def test_a_folder_that_cannot_be_written_stops_no_training(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    steps = []
    (sentence,) = run(tmp_path / name / "run", ProfiledSteps(1, 3), 5, lambda: steps.append(1))
    assert sentence.startswith(f"there is no profile, as {tmp_path / name / 'run'} cannot be written: ")
    assert len(steps) == 5
