"""Evaluating a run, in one process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnn.cluster.ranks.collectives import Cluster
from cnn.data.sources.registry import open_dataset
from cnn.data.split import stratified_split
from cnn.errors import RunError, UserError
from cnn.runs.checkpoints import CheckpointFolder, load_checkpoint
from cnn.runs.saved_run import NetworkSettings, SavedRun
from cnn.trained.image_network import ImageNetwork
from cnn.trained.run_evaluation import EvaluationSettings, evaluate_run

MakeRun = Callable[..., SavedRun]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder of two classes."""
    for name, count in (("a", 31), ("b", 17)):
        (tmp_path / "photographs" / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8), (5 * number, 99, 0)).save(tmp_path / "photographs" / name / f"{number}.png")
    return tmp_path / "photographs"


def evaluate(cluster: Cluster, run: SavedRun, checkpoint: str = "best", **settings: object) -> None:
    evaluate_run(
        cluster, NetworkSettings(run_dir=str(run.folder), checkpoint=checkpoint), EvaluationSettings(**settings)
    )


@pytest.mark.parametrize(("part", "checkpoint", "step"), [("test", "best", 5), ("validation", "9", 9)])
def test_the_numbers_are_those_of_the_weights_and_the_part(
    cluster: Cluster, make_run: MakeRun, capsys: pytest.CaptureFixture[str], part: str, checkpoint: str, step: int
) -> None:
    run = make_run("--model", "fcnn", "--validation_fraction", 0.3, "--seed", 3)
    evaluate(cluster, run, checkpoint, part=part)
    result = json.loads((run.folder / f"evaluation-{part}-{step:09d}.json").read_text())

    dataset = open_dataset(run.settings.data)
    images, labels = dataset.test.images, dataset.test.labels
    if part == "validation":
        _, chosen = stratified_split(dataset.train.labels, 0.3, 3)
        images, labels = dataset.train.images[chosen], dataset.train.labels[chosen]
    kernel, bias = (variable.value.numpy() for variable in run.load_network(checkpoint)[0].variables)
    flat = ((images / 255 - dataset.mean) / dataset.standard_deviation).reshape(len(images), -1)
    logits = flat @ kernel.astype(np.float64) + bias
    own = logits[np.arange(len(labels)), labels]
    ahead = (logits > own[:, np.newaxis]).sum(1)
    assert (result["part"], result["step"], result["count"]) == (part, step, len(labels))
    assert (result["correct"], result["top5"]) == ((ahead == 0).sum(), (ahead < 5).sum())
    np.testing.assert_allclose(result["loss"], np.mean(np.log(np.exp(logits).sum(1)) - own), rtol=1e-4)
    images, right = np.bincount(labels), np.bincount(labels[ahead == 0], minlength=10)
    assert [row["images"] for row in result["classes"]] == images.tolist()
    assert [row["right"] for row in result["classes"]] == right.tolist()
    assert [row["class_accuracy"] for row in result["classes"]] == (right / images).tolist()
    assert result["metrics"].keys() == {"loss", "accuracy", "top5_accuracy", "class_accuracy"}
    assert result["metrics"]["top5_accuracy"] == (ahead < 5).mean()
    np.testing.assert_allclose(result["metrics"]["class_accuracy"], (right / images).mean(), rtol=1e-12)
    assert np.trace(result["confusion"]) == result["correct"]
    output = capsys.readouterr().out
    assert f"{result['correct']} of {len(labels)} {part} images right" in output
    assert f"top-5 {result['top5']} (" in output
    assert f"mean class accuracy {100 * (right / images).mean():.2f} %, loss {result['loss']:.4f}" in output
    assert (run.folder / f"evaluation-{part}-{step:09d}.png").read_bytes().startswith(b"\x89PNG")


def refusal(*arguments: object, **settings: object) -> str:
    with pytest.raises(UserError) as caught:
        evaluate(*arguments, **settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def idx(folder: Path, images: int) -> Path:
    folder.mkdir()
    for part in ("train", "t10k"):
        header = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (images, 12, 12))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + bytes(images * 144))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, images]) + bytes(range(images)))
    return folder


def test_other_data_than_that_of_the_run(cluster: Cluster, make_run: MakeRun, tmp_path: Path) -> None:
    mine, other = idx(tmp_path / "mine", 9), idx(tmp_path / "other", 8)
    run = make_run("--model", "fcnn", "--data", "mnist", "--data_dir", mine)
    assert "is not the one that" in refusal(cluster, run, data_dir=str(other))
    mine.rename(tmp_path / "moved")
    assert "does not exist" in refusal(cluster, run)
    evaluate(cluster, run, data_dir=str(tmp_path / "moved"))


def test_a_run_that_does_not_say_how_its_images_were_divided_is_evaluated_as_it_was(
    cluster: Cluster, make_run: MakeRun, photographs: Path
) -> None:
    """Runs of version 0.1.0 divided images by their places in the list."""
    run = make_run("--model", "fcnn", "--data", "folder", "--data_dir", photographs, "--image_size", 8)
    assert run.data.division == "by name"
    now = open_dataset(run.settings.data)
    before = open_dataset(run.settings.data, division="by place")
    assert now.test.labels.tolist() != before.test.labels.tolist()
    values = json.loads((run.folder / "data.json").read_text())
    del values["division"]
    (run.folder / "data.json").write_text(json.dumps({**values, "checksum": before.checksum}))
    for checkpoint in (run.folder / "checkpoints").glob("*.npz"):
        checkpoint.unlink()
    initial = {f"model/{each.path}": each.value.numpy() for each in run.build_network().variables}
    record = {"data_checksum": before.checksum, "progress": {"step": 3}}
    CheckpointFolder(run.folder / "checkpoints").save(3, initial, record, best=True)
    for part, labels in (
        ("test", before.test.labels),
        ("validation", before.train.labels[stratified_split(before.train.labels, 0.1, 1)[1]]),
    ):
        evaluate(cluster, run, part=part)
        result = json.loads((run.folder / f"evaluation-{part}-000000003.json").read_text())
        assert [row["images"] for row in result["classes"]] == np.bincount(labels).tolist()


def test_mistakes(cluster: Cluster, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("--model", "fcnn", "--validation_fraction", 0)
    assert "unknown part 'tset'" in refusal(cluster, run, part="tset")
    assert "--batch_size 0 is less than 1" in refusal(cluster, run, batch_size=0)
    assert "kept no images for validation" in refusal(cluster, run, part="validation")
    assert "is not read from files" in refusal(cluster, run, data_dir=str(tmp_path))
    assert "choose one of best, last, 5, 9" in refusal(cluster, run, "4")
    (run.folder / "evaluation-test-000000005.json").mkdir()  # stands in the way
    assert "cannot be written" in refusal(cluster, run)


def tones(folder: Path, **counts: int) -> Path:
    """Class folders of single-coloured images, each class a colour of its own; no two images are the same."""
    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for image in range(count):
            colour = tuple(255 if channel == number % 3 else 3 * image for channel in range(3))
            Image.new("RGB", (20, 30), colour).save(folder / name / f"{image:03}.png")
    return folder


@pytest.fixture
def seen(make_run: MakeRun, tmp_path: Path) -> SavedRun:
    """A run on images of 73 pixels, of which the network sees the central 64."""
    folder = tones(tmp_path / "mine", ash=12, Beech=9, oak=6)
    return make_run("--model", "fcnn", "--data", "folder", "--data_dir", folder, "--image_size", 64)


def read_evaluation(run: SavedRun, name: str) -> dict[str, Any]:
    return dict(json.loads((run.folder / f"evaluation-{name}-000000005.json").read_text()))


def test_other_images_are_those_of_a_data_set_to_the_network(
    cluster: Cluster, seen: SavedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The images of the run's own test part, in class folders, have the results of that part."""
    evaluate(cluster, seen)
    dataset = open_dataset(seen.settings.data)
    for label, name in enumerate(dataset.class_names):
        (tmp_path / "v1.0 photos" / name).mkdir(parents=True)
        for number in np.flatnonzero(dataset.test.labels == label):
            Image.fromarray(dataset.test.images[number]).save(tmp_path / "v1.0 photos" / name / f"{number}.png")
    evaluate(cluster, seen, class_folders=str(tmp_path / "v1.0 photos"))
    expected, result = (read_evaluation(seen, name) for name in ("test", "of-v1.0 photos"))
    for name in ("count", "correct", "metrics", "classes", "confusion"):
        assert result[name] == expected[name], name
    assert (result["part"], result["data"]) == (None, str(tmp_path / "v1.0 photos"))
    assert f"fcnn on {tmp_path / 'v1.0 photos'}, step 5: " in capsys.readouterr().out


def test_classes_of_other_images_are_known_by_their_names(
    cluster: Cluster, seen: SavedRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tones(tmp_path / "other", elm=4, beech=130, ASH=5)  # more than one group of 100
    (other / "beech" / "broken.png").write_bytes((other / "beech" / "000.png").read_bytes()[:60])
    evaluate(cluster, seen, class_folders=str(other))
    result = read_evaluation(seen, "of-other")
    assert [(row["name"], row["images"]) for row in result["classes"]] == [("Beech", 130), ("ash", 5), ("oak", 0)]
    assert result["count"] == 135 == np.sum(result["confusion"])
    told = [record.message for record in caplog.records if record.name.startswith("cnn.")]
    assert told == [
        f"warning: no images of these classes in {other}: 'oak'",
        f"warning: not used, since the network has no such classes: 'elm' in {other}",
        f"warning: 1 image file left out: {other / 'beech' / 'broken.png'} (cannot be decoded: the file is cut off)",
    ]
    assert not [*(tmp_path / "other").glob("evaluation*")]


def test_a_network_of_grey_images_gets_other_images_in_grey(
    cluster: Cluster, make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run("--model", "fcnn")
    digits = open_dataset(run.settings.data).test
    for number in range(20):
        folder = tmp_path / "scans" / str(digits.labels[number])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits.images[number, ..., 0]).convert("RGB").save(folder / f"{number}.png")
    evaluate(cluster, run, class_folders=str(tmp_path / "scans"))
    network = ImageNetwork(run, run.load_network("best")[0])
    right = network(digits.images[:20]).argmax(1) == digits.labels[:20]
    assert read_evaluation(run, "of-scans")["correct"] == right.sum()


def test_folders_that_hold_no_images_of_the_classes(cluster: Cluster, seen: SavedRun, tmp_path: Path) -> None:
    def refused(folder: Path, **settings: object) -> str:
        return refusal(cluster, seen, class_folders=str(folder), **settings)

    assert "cannot be read (No such file or directory)" in refused(tmp_path / "none")
    tones(tmp_path / "parts" / "val", ash=1)
    assert f"it holds 'val': name the folder {tmp_path / 'parts' / 'val'}, for example" in refused(tmp_path / "parts")
    (tmp_path / "flat").mkdir()
    assert "('Beech', 'ash', 'oak'); it holds no folders: name the folder that holds them" in refused(tmp_path / "flat")
    (tmp_path / "empty" / "oak").mkdir(parents=True)
    assert "'oak' in " in refused(tmp_path / "empty")
    (tmp_path / "empty" / "oak" / "x.png").write_text("none")
    assert f"no image in {tmp_path / 'empty'} can be read" in refused(tmp_path / "empty")
    for more in ({"part": "train"}, {"data_dir": str(tmp_path)}):
        assert "--part and --data_dir choose: leave these two out" in refused(tmp_path / "empty", **more)
    assert not [*seen.folder.glob("evaluation*")]


def test_of_few_classes_the_likeliest_five_are_not_told(
    cluster: Cluster, make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (20, 20), (40 * number, 0, 0)).save(tmp_path / "images" / name / f"{number}.png")
    run = make_run("--model", "fcnn", "--data", "folder", "--data_dir", tmp_path / "images", "--image_size", 16)
    evaluate(cluster, run)
    assert json.loads((run.folder / "evaluation-test-000000005.json").read_text())["top5"] is None
    assert "top-5" not in capsys.readouterr().out


def test_a_network_that_overflows_has_no_accuracy(
    cluster: Cluster, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """The argmax of NaN logits would be the first class, which is right for a tenth of the images."""
    run = make_run("--model", "fcnn")
    checkpoints = CheckpointFolder(run.folder / "checkpoints")
    arrays, record = load_checkpoint(checkpoints.path(9))
    large = {name: 3e38 * np.sign(array).astype(np.float32) for name, array in arrays.items()}
    checkpoints.save(11, large, record, best=True)
    with pytest.raises(
        RunError, match="has outputs that are not finite for test images, .* another --checkpoint"
    ) as caught:
        evaluate(cluster, run)
    assert (caught.value.exit_code, caught.value.agreed) == (1, True)
    assert not [*run.folder.glob("evaluation*")]
    network = ImageNetwork(run, run.load_network("best")[0])
    with pytest.raises(RunError, match="has outputs that are not finite for some images"):
        network(open_dataset(run.settings.data).test.images[:3])
