"""The proof holds for every small network, and fails when training is broken on purpose."""

import json
import math
import re
from pathlib import Path

import pytest

from .broken_prove import BREAKS


def test_several_workers_compute_what_one_computes(jobs) -> None:
    code, output = jobs.run("jobs/prove.py", "--models", "fcnn", "--workers", 2, 3, "--precisions", "mixed_bfloat16")
    assert code == 0, output
    rows = re.findall(r"^(\S+) +(\d) .* holds$", output, re.MULTILINE)
    assert rows == [("fcnn", str(workers)) for workers in (1, 2, 3)]
    assert "BROKEN" not in output


IMAGES = ("--crop", "pad", "--flip", "--augment", "randaugment", "--colour_jitter", 0.4, "--erase", 0.5)
IMAGES = (*IMAGES, "--mixup", 0.2, "--cutmix", 1)


@pytest.mark.parametrize(("exchange", "images"), [("factored", IMAGES), ("sharded", ())])
def test_it_holds_with_all_that_changes_images_gradients_and_weights(
    jobs, exchange: str, images: tuple[object, ...]
) -> None:
    """Dropout, augmentation, mixed samples, weights of classes, regularisation, micro-batches."""
    small = ("--proof_batch_size", 44, "--proof_group_size", 4, "--proof_micro_batch_size", 8)
    loss = ("--label_smoothing", 0.1, "--class_weights", "balanced")
    more = (*loss, "--weight_decay", 0.05, "--clip_norm", 1, "--average_decay", 0.5)
    code, output = jobs.run(
        *("jobs/prove.py", "--data", "synthetic", "--workers", 2, "--models", "lenet5-like"),
        *(*small, *images, *more, "--exchange", exchange, "--precisions", "float32"),
    )
    assert code == 0, output
    assert len(re.findall(r"^(\S+) +(\d) .* holds$", output, re.MULTILINE)) == 2


def test_it_holds_with_frozen_layers_and_a_rate_for_the_head(jobs) -> None:
    """A convolution is frozen, and a fully connected layer, whose factors are then not exchanged."""
    tuned = ("--freeze", "conv1,fc1", "--head_learning_rate", 0.05, "--exchange", "factored", "--precisions", "float32")
    code, output = jobs.run("jobs/prove.py", "--models", "lenet5-like", "--workers", 2, 3, "--proof_steps", 12, *tuned)
    assert code == 0, output
    assert len(re.findall(r"^lenet5-like +[123] .* holds$", output, re.MULTILINE)) == 3


def test_reproducible_training_has_the_same_bits_with_any_number_of_workers(jobs) -> None:
    """Ten groups that neither two nor three workers divide like the tree, three in the last batch; and one thread."""
    images = ("--crop", "pad", "--flip", "--augment", "trivialaugment", "--colour_jitter", 0.4, "--erase", 0.5)
    images = (*images, "--mixup", 0.2, "--cutmix", 1)
    more = ("--weight_decay", 0.05, "--clip_norm", 1, "--average_decay", 0.5, "--exchange", "factored")
    code, output = jobs.run(
        *("jobs/prove.py", "--bits", "--data", "synthetic", "--workers", 2, 3, "--models", "lenet5-like"),
        *("--proof_batch_size", 40, "--proof_group_size", 4, "--proof_steps", 8, *images, *more),
    )
    assert code == 0, output
    rows = re.findall(r"^lenet5-like +float32 +(\d) +\d+  ([0-9a-f]{64})$", output, re.MULTILINE)
    assert [workers for workers, _ in rows] == ["1", "1", "2", "3"]
    assert len({weights for _, weights in rows}) == 1


def test_sums_in_another_order_are_seen(jobs) -> None:
    size = ("--bits", "--models", "fcnn", "--workers", 2, "--proof_steps", 8)
    code, output = jobs.run("tests/integration/broken_prove.py", *size, CNN_BREAK="sums_of_rank")
    assert code == 1, output
    assert re.search(r"^fcnn +float32 +2 +\d+  [0-9a-f]{64}  DIFFERS$", output, re.MULTILINE), output


@pytest.mark.parametrize("broken", [each for each in BREAKS if each not in ("inexact_bias", "sums_of_rank")])
def test_broken_training_is_seen(jobs, broken: str) -> None:
    model = "lenet5-like" if broken == "keys_of_rank" else "fcnn"  # which has no dropout, and starts sooner
    size = ("--models", model, "--workers", 2, "--proof_steps", 10, "--precisions", "float32")
    code, output = jobs.run("tests/integration/broken_prove.py", *size, CNN_BREAK=broken)
    assert code == 1, output
    assert re.search(rf"^{model} +1 .* holds$", output, re.MULTILINE), output
    assert re.search(rf"^{model} +2 .* BROKEN$", output, re.MULTILINE), output


def test_inexact_sums_are_seen(jobs) -> None:
    size = ("--models", "fcnn", "--workers", 1, "--proof_steps", 10, "--precisions", "mixed_bfloat16")
    code, output = jobs.run("tests/integration/broken_prove.py", *size, CNN_BREAK="inexact_bias")
    assert code == 1, output
    assert re.search(r"^fcnn +1 .* holds$", output, re.MULTILINE), output
    assert re.search(r"^fcnn +mixed_bfloat16 .* BROKEN$", output, re.MULTILINE), output


def test_a_run_repeated_from_its_folder(jobs, tmp_path: Path) -> None:
    run = tmp_path / "run"
    size = ("--data", "digits", "--model", "lenet5-like", "--global_batch_size", 100, "--log_every", 1)
    size = (*size, "--exchange", "factored", "--run_dir", run)
    for length in (("--steps", 20), ("--steps", 26, "--resume")):
        code, output = jobs.run("jobs/train.py", *size, *length, launcher="mpirun", workers=2)
        assert code == 0, output
        assert ("exchange: " in output) == ("--resume" not in length), output
    code, output = jobs.run("jobs/prove.py", "--replay", run)
    assert code == 0, output
    assert "exchange: " not in output  # measured again, it might be another one
    assert output.endswith(f"{run}: all 29 points of its curves are reproduced exactly\n"), output

    metrics = run / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    point = json.loads(lines[4])
    lines[4] = json.dumps({**point, "loss": math.nextafter(point["loss"], 1)}) + "\n"
    metrics.write_text("".join(lines))
    code, output = jobs.run("jobs/prove.py", "--replay", run)
    assert code == 1, output
    assert f"{run}: at step 5 the train loss was " in output

    code, output = jobs.run("jobs/prove.py", "--replay", tmp_path)
    assert (code, output.count("\n")) == (2, 1)
    assert output.startswith(f"error: --replay {tmp_path} holds no run")
