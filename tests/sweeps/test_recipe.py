"""A recipe becomes the combinations that it says, or one sentence."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.errors import UserError
from cnn.settings.settings import TrainingSettings, parse_settings
from cnn.sweeps.recipe import Combination, combinations
from tests.hostile import JSON, YAML, examples, read_or_sentence

BLOCKS = """
model: [fcnn, lenet5]
epochs: 3
blocks:
  - {optimizer: sgd, learning_rate: [0.5, 1e-1]}
  - {optimizer: adam, learning_rate: [null, 0.01], epochs: 4}
"""


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Combination]]:
    """Reads a recipe's text, with settings of the command line."""

    def read(text: str, **given: object) -> list[Combination]:
        (tmp_path / "recipe.yaml").write_text(text)
        return combinations(tmp_path / "recipe.yaml", given)

    return read


def names(found: list[Combination]) -> list[str]:
    return [each.name for each in found]


def test_every_block_with_every_value_of_every_list(read) -> None:
    found = read(BLOCKS)
    assert names(found) == [
        "digits-fcnn-sgd-0.5",
        "digits-fcnn-sgd-0.1",
        "digits-fcnn-adam-0.001",
        "digits-fcnn-adam-0.01",
        "digits-lenet5-sgd-0.5",
        "digits-lenet5-sgd-0.1",
        "digits-lenet5-adam-0.001",
        "digits-lenet5-adam-0.01",
    ]
    assert [each.settings.run.epochs for each in found] == [3, 3, 4, 4] * 2
    assert found[5].settings.model.model == "lenet5"
    assert found[5].settings.optimizer.learning_rate == 0.1


def test_what_is_checked_is_what_is_started(read) -> None:
    for each in read(BLOCKS + "flip: [true, false]\n"):
        assert parse_settings("", TrainingSettings, each.arguments) == each.settings


def test_without_lists_there_is_one_run(read) -> None:
    assert names(read("model: fcnn")) == ["digits-fcnn-adam-0.001"]
    assert names(read("{}")) == ["digits-lenet5-like-adam-0.001"]


def test_the_command_line_overrules_lists_and_blocks(read) -> None:
    found = read(BLOCKS, model="lenet5-like", learning_rate=0.25, epochs=9)
    assert names(found) == ["digits-lenet5-like-sgd-0.25", "digits-lenet5-like-adam-0.25"]
    assert [each.settings.run.epochs for each in found] == [9, 9]


def test_values_are_those_of_the_command_line(read) -> None:
    found = read("data: mnist\nmodel: fcnn\nseed: [010, 011]\nflip: [on]\ndata_dir: [0123, no, 2026-05-04, 'null']")
    assert [each.settings.run.seed for each in found] == [10] * 4 + [11] * 4
    assert [each.settings.data.data_dir for each in found[:4]] == ["0123", "no", "2026-05-04", "null"]
    assert all(parse_settings("", TrainingSettings, each.arguments) == each.settings for each in found)


def test_null_is_the_default(read) -> None:
    assert names(read("model: [fcnn, null]")) == ["digits-fcnn-adam-0.001", "digits-lenet5-like-adam-0.001"]


def test_duplicate_combinations_are_removed(read) -> None:
    assert names(read("optimizer: adam\nlearning_rate: [null, 0.001, 0.01]")) == [
        "digits-lenet5-like-adam-0.001",
        "digits-lenet5-like-adam-0.01",
    ]


def test_names_contain_further_settings_where_runs_differ(read) -> None:
    found = read(BLOCKS + "seed: [1, 2]\n", model="fcnn")
    assert names(found)[:3] == [
        "digits-fcnn-sgd-0.5-seed=1",
        "digits-fcnn-sgd-0.1-seed=1",
        "digits-fcnn-sgd-0.5-seed=2",
    ]
    assert found[2].distinguishing == {"seed": 2}
    assert {each.distinguishing["seed"] for each in found} == {1, 2}
    assert found[0].explicit.items() >= {"data": "digits", "learning_rate": 0.5, "seed": 1, "epochs": 3}.items()


def test_names_are_those_of_files(read) -> None:
    found = read("data: mnist\nmodel: fcnn\ndata_dir: [/a/b, c d]")
    assert names(found) == ["mnist-fcnn-adam-0.001-data_dir=_a_b", "mnist-fcnn-adam-0.001-data_dir=c_d"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model: [fcnn, lenet55]", "recipe.yaml, model lenet55: unknown model 'lenet55': choose one of fcnn,"),
        (
            "blocks: [{optimizer: sgd}, {optimizer: adma, learning_rate: 0.1}]",
            "recipe.yaml, block 2, optimizer adma, learning_rate 0.1: unknown optimizer 'adma'",
        ),
        ("learning_rate: [0.1, -0.1]", "recipe.yaml, learning_rate -0.1: --learning_rate -0.1 is not a positive"),
        ("epochs: [1, perhaps]", "recipe.yaml, line 1: epochs 'perhaps' is not a whole number"),
        ("modle: fcnn", "recipe.yaml, line 1: there is no setting 'modle'; did you mean model?"),
        ("model: [[fcnn]]", "recipe.yaml, line 1: model is a list instead of one value"),
        ("model: []", "recipe.yaml: model has an empty list"),
        ("validation_fraction: [0.1, 0]", "recipe.yaml, validation_fraction 0.0: runs are compared on the validation"),
        ("run_dir: a", "recipe.yaml: run_dir is set by the sweep"),
        ("resume: true", "recipe.yaml: resume is set by the sweep"),
        ("blocks: {optimizer: sgd}", "recipe.yaml: blocks is not a list"),
        ("blocks: []", "recipe.yaml: blocks is not a list"),
        ("blocks: [sgd]", "recipe.yaml: blocks is not a list"),
        ("- model", "recipe.yaml holds a list instead of settings"),
        ("", "recipe.yaml holds no settings"),
        ("model: [fcnn", "recipe.yaml cannot be read"),
        (
            "data: mnist\ndata_dir: [a/b, a b]",
            "recipe.yaml, data_dir a b: another combination has the same folder name, "
            "mnist-lenet5-like-adam-0.001-data_dir=a_b: change one of data_dir.",
        ),
        ("config: x.yaml", "recipe.yaml"),
        ("model: fcnn\nblocks:\n- {epochs: 1}\n- {epochs: 1:30}", "recipe.yaml, line 4: epochs '1:30' is not a whole"),
        ("model: fcnn\nseed: 1\nmodel: lenet5", "recipe.yaml cannot be read: line 3: model is already in line 1"),
        ("__path__: 1", "recipe.yaml, line 1: there is no setting '__path__'; leave it out."),
        (
            "data: mnist\ndata_dir: [a, " + 250 * "b" + "]",
            "the name of its folder, mnist-lenet5-like-adam",
        ),
        (
            "\n".join(f"{name}: [1, 2, 3, 4, 5, 6, 7, 8, 9]" for name in ("seed", "epochs", "steps", "l2", "erase")),
            "recipe.yaml has more than 10,000 combi",
        ),
    ],
)
def test_mistakes(read, text: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        read(text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none.yaml cannot be read"):
        combinations(tmp_path / "none.yaml", {})


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[2].glob("jobs/recipes/tutorial-*.yaml")), ids=str)
def test_the_recipes_of_the_project(path: Path) -> None:
    found = combinations(path, {})
    runs = [(each.settings.model.model, each.settings.optimizer.optimizer) for each in found]
    networks, optimizers, rates = (
        ("fcnn", "lenet5", "lenet5-like"),
        ("sgd", "momentum", "adam", "adagrad", "rmsprop"),
        2,
    )
    if path.stem == "tutorial-oxflower17":
        networks, optimizers, rates = ("alexnet",), ("momentum", "adam", "rmsprop"), 1
    assert sorted(runs) == sorted((network, each) for network in networks for each in optimizers for _ in range(rates))
    assert {each.settings.data.data for each in found} == {path.stem.removeprefix("tutorial-")}


@pytest.mark.parametrize("text", YAML, ids=lambda text: text[:20])
def test_hostile_recipes_are_refused_and_nothing_in_them_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    read_or_sentence(lambda: read(text), "recipe.yaml", UserError)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


NAMES = st.sampled_from(["model", "learning_rate", "epochs", "flip", "data_dir", "blocks", "config", "__path__"])
VALUES = JSON | st.sampled_from(["fcnn", 0.1, 3, None]) | st.lists(st.sampled_from(["fcnn", 0.5, 1, "a/b", None, "-"]))


@examples(40)
@given(st.dictionaries(NAMES | st.text(max_size=4), VALUES, max_size=3))
def test_any_recipe_is_combinations_or_one_sentence(read, recipe: dict[str, object]) -> None:
    found = read_or_sentence(lambda: read(json.dumps(recipe)), "recipe.yaml", UserError)
    for each in found or []:
        assert "/" not in each.name
        assert 0 < len(os.fsencode(each.name)) < 256
