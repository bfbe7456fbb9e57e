"""What a real TensorBoard shows of real runs."""

import re
import urllib.request
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ..monitoring.tensorboard_server import get_when, tensorboard

SETTINGS = (
    *("--data", "digits", "--model", "lenet5-like", "--precision", "float64", "--global_batch_size", 90),
    *("--crop", "pad", "--flip", "--mixup", 0.2, "--group_size", 10),
)
"""15 steps an epoch."""


def test_a_real_tensorboard_shows_real_runs(jobs, tmp_path: Path) -> None:
    """A run that was resumed, and one of two workers."""
    watched = ("--histograms_every", 10, "--profile_steps", "20:22", "--profile_ranks")
    one, two = tmp_path / "one", tmp_path / "two"
    for epochs, more in ((1, ()), (2, ("--resume", *watched, 0))):
        code, output = jobs.run("jobs/train.py", *SETTINGS, "--epochs", epochs, "--run_dir", one, *more)
        assert code == 0, output
    assert f"is in {one}/plugins/profile" in output
    command = ("jobs/train.py", *SETTINGS, "--epochs", 2, "--run_dir", two, *watched, "all")
    code, output = jobs.run(*command, launcher="mpirun", workers=2)
    assert code == 0, output
    assert_every_tab_is_filled(tmp_path)
    files = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.xplane.pb")]
    found = sorted(re.sub(r"/plugins/profile/[\d_]+/[^/]+$", "", file) for file in files)
    assert found == ["one", "two", "two/rank-1"]
    assert_same_at_the_end(one, two)


def assert_every_tab_is_filled(runs: Path) -> None:
    with tensorboard(runs) as (process, address):

        def ask(route: str, *ready: str, posted: object = None) -> object:
            return get_when(process, f"{address}/data/plugin/{route}", ready, posted)

        tags = ask("scalars/tags", "one", "two", "accuracy/test")
        assert isinstance(tags, dict)
        assert tags.keys() == {"one", "two"}
        for of_run in tags.values():
            groups = {tag.split("/")[0] for tag in of_run}
            assert sorted(groups) == [
                *("accuracy", "loss", "mean class accuracy", "memory", "norms of gradients", "norms of weights"),
                *("recall in test", "recall in validation", "time of a step", "time of the run", "top-5", "training"),
            ]
            assert {"loss/train", "loss/validation", "loss/test", "training/learning_rate"} <= of_run.keys()
            assert {"recall in validation/7", "norms of gradients/conv1", "norms of weights/logits"} <= of_run.keys()
        points = ask("scalars/scalars?run=one&tag=loss/validation", "30")
        assert isinstance(points, list)
        assert [step for _, step, _ in points] == [15, 30]
        layout = ask("custom_scalars/layout", "loss/validation")
        assert isinstance(layout, dict)
        assert [chart["title"] for chart in layout["category"][0]["chart"]] == ["loss", "accuracy"]
        images = ask("images/tags", "one", "two", "confusion/test")
        assert isinstance(images, dict)
        for of_run in images.values():
            assert set(of_run) == {
                *("confusion/test", "confusion/validation"),
                *("images/first step", "images/first filters", "images/most wrong in validation"),
            }
        first = ask("images/images?run=one&tag=images/first%20step&sample=0", "blob_key")
        assert isinstance(first, list)
        assert [each["step"] for each in first] == [0, 15]  # of each start
        texts = ask("text/text?run=one&tag=environment", "data_checksum")
        assert isinstance(texts, list)
        assert "<td>topology.world_size</td>\n<td>1</td>" in texts[-1]["text"]
        histograms = ask("histograms/histograms?run=one&tag=weights/conv1/kernel", "30")
        assert isinstance(histograms, list)
        assert [step for _, step, _ in histograms] == [20, 30]
        with urllib.request.urlopen(f"{address}/data/plugin/graphs/graph?run=one&conceptual=false") as answer:
            graph = answer.read().decode()
        assert re.search(r'name: "conv2"\s+op: "Conv2D"\s+input: "\w+"', graph), graph
        experiment = ask("hparams/experiment", "global_batch_size", "accuracy/best", posted={"includeMetrics": True})
        assert isinstance(experiment, dict)
        hparams = {info["name"]: info for info in experiment["hparamInfos"]}
        assert not {"run_dir", "resume", "data_dir", "log_every", "profile_steps"} & hparams.keys()
        assert hparams["model"]["domainDiscrete"] == ["lenet5-like"]


def assert_same_at_the_end(*runs: Path) -> None:
    one, two = (EventAccumulator(str(run), {"images": 0, "scalars": 0}).Reload() for run in runs)
    tags = [tag for tag in one.Tags()["scalars"] if tag.startswith(("norms", "recall", "loss", "accuracy"))]
    assert tags
    for tag in tags:
        points, others = one.Scalars(tag), two.Scalars(tag)
        by_step = {other.step: other.value for other in others}
        last = points[-1]
        np.testing.assert_allclose(last.value, by_step[last.step], rtol=1e-5, err_msg=tag)
    pictures = [events.Images("images/most wrong in validation")[-1] for events in (one, two)]
    assert pictures[0].encoded_image_string == pictures[1].encoded_image_string


def test_a_profile_beyond_the_end_is_refused_by_one_sentence(jobs, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ("jobs/train.py", *SETTINGS, "--steps", 4, "--run_dir", run)
    for asked, said in (
        (("--profile_steps", "2:5"), "error: --profile_steps 2:5 goes beyond the end of the run, which has 4 steps"),
        (("--profile_steps", "2:3", "--profile_ranks", 2), "error: --profile_ranks 2 names rank 2, but 2 workers can"),
    ):
        code, output = jobs.run(*command, *asked, launcher="mpirun", workers=2)
        assert (code, output.count("error: "), run.exists()) == (2, 1, False), output
        assert said in output


def test_a_folder_that_cannot_be_written_in_mid_run_stops_no_training(jobs, tmp_path: Path) -> None:
    """Its event file is on a full disk; the rest is not."""
    program = tmp_path / "full.py"
    program.write_text(
        "import sys, runpy\n"
        "sys.path.insert(0, 'jobs')\n"
        "import cnn.monitoring.tensorboard.events as events\n"
        "events.open_new = lambda path: open('/dev/full', 'wb')\n"
        "runpy.run_path('jobs/train.py', run_name='__main__')\n"
    )
    code, output = jobs.run(program, *SETTINGS, "--epochs", 2, "--run_dir", tmp_path / "run")
    assert code == 0, output
    said = f"{tmp_path}/run cannot be written (No space left on device): TensorBoard will not show the rest of this run"
    assert " ".join(output.split()).count(said) == 1, output
    assert (tmp_path / "run" / "summary.json").exists()
