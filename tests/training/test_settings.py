"""Settings from YAML and the command line, and back."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.errors import RunError, UserError
from cnn.training.settings import (
    RunSettings,
    TrainingSettings,
    parse_given,
    parse_settings,
    read_settings,
    write_settings,
)
from cnn.training.sweep import SweepSettings
from tests.hostile import JSON, YAML, examples, read_or_sentence


def parse(*arguments: object) -> TrainingSettings:
    return parse_settings("A program.", TrainingSettings, [str(argument) for argument in arguments])


def refusal(*arguments: object) -> str:
    with pytest.raises(UserError) as caught:
        parse(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults_are_the_dataclasses_own() -> None:
    settings = parse()
    for field in dataclasses.fields(TrainingSettings):
        group = getattr(settings, field.name)
        assert group == type(group)()


def test_the_command_line_wins_over_yaml_wherever_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("model: fcnn\nlearning_rate: 0.25\nsteps: 7\n")
    settings = parse("--config", file, "--learning_rate", 0.5, "--global_batch_size=64")
    assert settings.model.model == "fcnn"
    assert settings.optimizer.learning_rate == 0.5
    assert (settings.run.steps, settings.run.global_batch_size) == (7, 64)


def test_merged_settings_come_back_from_a_file(tmp_path: Path) -> None:
    settings = parse(
        "--model", "lenet5", "--dropout", 0.125, "--optimizer", "momentum", "--learning_rate", 1e-7, "--l2", 0.0005,
        "--schedule", "exponential", "--run_dir", "runs/a: b #c", "--steps", 12, "--seed", 2**31, "--precision",
        "float64", "--validation_fraction", 0.3, "--data", "mnist", "--data_dir", "1",
    )  # fmt: skip
    file = tmp_path / "settings.yaml"
    write_settings(file, settings.merged)
    assert parse("--config", file) == settings
    assert read_settings(file) == settings.merged
    write_settings(file, parse().merged)
    assert parse("--config", file) == parse()


def test_merged_holds_every_setting_once() -> None:
    settings = parse()
    fields = [
        field.name
        for group in dataclasses.fields(settings)
        for field in dataclasses.fields(getattr(settings, group.name))
    ]
    assert list(settings.merged) == fields
    assert len(set(fields)) == len(fields)


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--learning_rte", 1], ["learning_rte", "did you mean --learning_rate?", "--help"]),
        (["--zzzzzz", 1], ["zzzzzz", "; --help"]),
        (["--epochs", "many"], ["epochs", "many"]),
        (["--epochs", 1.5], ["epochs", "1.5"]),
        (["--epochs", 0], ["--epochs 0 is less than 1"]),
        (["--steps", -3], ["--steps -3 is less than 1"]),
        (["--global_batch_size", 0], ["--global_batch_size 0"]),
        (["--save_every", 0], ["--save_every 0"]),
        (["--log_every", 0], ["--log_every 0"]),
        (["--seed", -1], ["--seed -1 is not in"]),
        (["--seed", 2**32], ["--seed 4294967296"]),
        (["--precision", "float16"], ["float16", "float32, tensorfloat32, float64, mixed_bfloat16, mixed_float16"]),
        (["--resume"], ["--resume needs --run_dir"]),
        (["--model", "fcn"], ["unknown model 'fcn'", "Did you mean 'fcnn'?"]),
        (["--data", "digit"], ["unknown data set 'digit'", "Did you mean 'digits'?"]),
        (["--schedule", "linear"], ["unknown schedule 'linear'", "constant, exponential"]),
        (["--validation_fraction", "nan"], ["validation_fraction", "nan"]),
    ],
)
def test_refused(arguments: list[object], fragments: list[str]) -> None:
    sentence = refusal(*arguments)
    for fragment in fragments:
        assert fragment in sentence


@pytest.mark.parametrize(
    "content",
    [
        b"model: [fcnn\nlr: }",
        b"modle: fcnn\n",
        b"- model\n- fcnn\n",
        b"just text\n",
        b"epochs: many\n",
        b"\xff\xfe\x00",
    ],
)
def test_refused_files(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(content)
    refusal("--config", file)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "none.yaml" in refusal("--config", tmp_path / "none.yaml")
    refusal("--config", tmp_path)


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "A program." in text
    for name in parse().merged:
        assert f"--{name}" in text


@pytest.mark.parametrize("content", ["a: [", "3\n", "- a\n", ""])
def test_a_damaged_file_of_a_run(tmp_path: Path, content: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(content)
    with pytest.raises(RunError, match="settings"):
        read_settings(file)


def test_a_missing_file_of_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be read"):
        read_settings(tmp_path / "none.yaml")


def test_run_settings_are_checked_without_a_parser() -> None:
    with pytest.raises(UserError):
        RunSettings(epochs=0)


def test_one_section_and_what_was_given_of_others(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("model: fcnn\ncores: 3\n")
    arguments = ["--config", str(file), "--recipe", "r", "--no_flip", "--epochs=2", "--data_dir", "d"]
    section, given = parse_given("A program.", SweepSettings, TrainingSettings, arguments)
    assert section == SweepSettings(recipe="r", cores=3)
    assert given == {"model": "fcnn", "flip": False, "epochs": 2, "data_dir": "d"}


def test_a_mistyped_name_in_yaml_gets_a_hint() -> None:
    assert "did you mean --model?" in refusal("--config", "{modle: fcnn}")


def test_the_learning_rate_is_scaled_in_proportion_to_the_batch() -> None:
    def rate(*arguments: object) -> float:
        return parse_settings("", TrainingSettings, [*map(str, arguments)]).learning_rate

    assert rate("--learning_rate", 0.1, "--global_batch_size", 512) == 0.1
    assert rate("--learning_rate", 0.1, "--global_batch_size", 512, "--scale_learning_rate", 256) == 0.2
    with pytest.raises(UserError, match="--scale_learning_rate 0 is less than 1"):
        rate("--scale_learning_rate", 0)


@pytest.mark.parametrize("content", YAML, ids=lambda content: content[:20])
def test_hostile_files_are_refused_and_nothing_in_them_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "a.yaml"
    file.write_text(content)
    refusal("--config", file)
    read_or_sentence(lambda: read_settings(file), str(file))
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


NAMES = st.sampled_from([*parse().merged, "config", "__path__", "help", "a.b"]) | st.text(max_size=5)
TEXTS = st.text(st.sampled_from("[]{}:,-?!&*'\"|>%@#=~ \n\tab01.e"), max_size=30)


@examples(40)
@given(st.dictionaries(NAMES, JSON | TEXTS, max_size=3).map(json.dumps) | TEXTS)
def test_any_file_is_settings_or_one_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(content)
    settings = read_or_sentence(lambda: parse("--config", file), "", UserError)
    if settings is not None:
        write_settings(file, settings.merged)
        assert parse("--config", file) == settings
    file.write_text(content)
    read_or_sentence(lambda: read_settings(file), str(file))


@examples(25)
@given(TEXTS | st.sampled_from(["1e3", "1.5e-7", "2026-05-04", "null", "~", "yes", "0x1f", "1:30", "caf\udce9", "-x"]))
def test_any_text_comes_back_from_a_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.yaml"
    settings = parse("--data", "mnist", f"--data_dir={text}", f"--run_dir=./{text}")
    write_settings(file, settings.merged)
    assert read_settings(file) == settings.merged
    assert parse(f"--config={file}") == settings


def test_a_file_that_is_wrong_is_named(tmp_path: Path) -> None:
    for content in ("model: [", "- 1", "model: !!int x"):
        (tmp_path / "mine.yaml").write_text(content)
        assert "mine.yaml" in refusal("--config", tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    "name", ["global_batch_size", "group_size", "epochs", "steps", "log_every", "save_every", "seed"]
)
@pytest.mark.parametrize("digits", [20, 311, 5000])
def test_whole_numbers_that_nothing_could_hold(name: str, digits: int) -> None:
    said = refusal(f"--{name}", "9" * digits)
    assert name in said
    assert len(said) < 200 or digits == 5000
    assert str(digits) in said or digits == 5000


def test_a_scaled_rate_that_is_no_number() -> None:
    assert "scaled from --scale_learning_rate 1 to --global_batch_size 1000, is inf" in refusal(
        *("--learning_rate", 1e307, "--scale_learning_rate", 1, "--global_batch_size", 1000)
    )
    assert "is 0.0: give another" in refusal("--learning_rate", 5e-324, "--scale_learning_rate", 2**40)
