"""Settings from YAML and the command line, and back."""

import dataclasses
import json
import os
import re
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from cnn.data.sources.registry import SOURCES
from cnn.errors import RunError, UserError
from cnn.measuring.proof import ProofSettings
from cnn.models.registry import NETWORKS
from cnn.optim.optimizers import OPTIMIZERS
from cnn.optim.schedules import SCHEDULES
from cnn.settings.settings import (
    RunSettings,
    TrainingSettings,
    parse_given,
    parse_settings,
    read_settings,
    training_hints,
    write_settings,
)
from cnn.sweeps.sweep import SweepSettings
from cnn.trained.prediction import PredictionSettings
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
    for arguments in (
        ["--config", file, "--learning_rate", 0.5, "--global_batch_size=64"],
        ["--learning_rate=0.5", "--global_batch_size", 64, f"--config={file}"],
    ):
        settings = parse(*arguments)
        assert settings.model.model == "fcnn"
        assert settings.optimizer.learning_rate == 0.5
        assert (settings.run.steps, settings.run.global_batch_size) == (7, 64)


def test_of_two_files_the_later_wins_and_of_epochs_and_steps_the_command_line(tmp_path: Path) -> None:
    for name, text in (("a", "seed: 2\nsteps: 7\n"), ("b", "seed: 3\n")):
        (tmp_path / name).write_text(text)
    files = ["--config", tmp_path / "a", "--config", tmp_path / "b"]
    assert (parse(*files).run.seed, parse(*files).run.steps) == (3, 7)
    run = parse(*files, "--epochs", 3).run
    assert (run.epochs, run.steps) == (3, None)
    assert parse("--epochs", 3, "--steps", 5).run.steps == 5


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
        (["--zzzzzz", 1], ["there is no option --zzzzzz; --help lists all options."]),
        (["--epochs", "many"], ["epochs", "many"]),
        (["--epochs", 1.5], ["epochs", "1.5"]),
        (["--epochs", 0], ["--epochs 0 is less than 1"]),
        (["--steps", -3], ["--steps -3 is less than 1"]),
        (["--global_batch_size", 0], ["--global_batch_size 0"]),
        (["--save_every", 0], ["--save_every 0"]),
        (["--log_every", 0], ["--log_every 0"]),
        (["--patience", 0], ["--patience 0 is less than 1"]),
        (["--histograms_every", 0], ["--histograms_every 0 is less than 1"]),
        (["--profile_steps", "110:100"], ["--profile_steps 110:100 names no steps", "100:110 for ten steps"]),
        (["--profile_steps", "100:100"], ["--profile_steps 100:100 names no steps"]),
        (["--profile_steps", "100"], ["--profile_steps 100 names no steps"]),
        (["--profile_ranks", "0, 1"], ["--profile_ranks 0, 1 is not a list of ranks", "0,3", "or all"]),
        (["--stop_after", "8"], ["--stop_after '8' is not a duration", "8h, 90m or 1h30m"]),
        (["--class_weights", "balance"], ["unknown choice for class_weights 'balance'", "Did you mean 'balanced'?"]),
        (["--seed", -1], ["--seed -1 is not in"]),
        (["--seed", 2**32], ["--seed 4294967296"]),
        (["--precision", "float16"], ["float16", "float32, tensorfloat32, float64, mixed_bfloat16, mixed_float16"]),
        (["--resume"], ["--resume needs --run_dir"]),
        (["--model", "fcn"], ["unknown model 'fcn'", "Did you mean 'fcnn'?"]),
        (["--data", "digit"], ["unknown data set 'digit'", "Did you mean 'digits'?"]),
        (["--schedule", "lineal"], ["unknown schedule 'lineal'", "constant, exponential", "Did you mean 'linear'?"]),
        (["--validation_fraction", "nan"], ["validation_fraction", "nan"]),
        (["--validation_fraction", -0.1], ["validation_fraction is -0.1: it must be at least 0 and less than 1"]),
        (["--validation_fraction", 1], ["validation_fraction is 1.0"]),
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
    assert text.isprintable() or set(filter(lambda each: not each.isprintable(), text)) == {"\n"}
    for name in parse().merged:
        assert f"--{name}" in text


@pytest.mark.parametrize(
    ("setting", "table"), [("model", NETWORKS), ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("data", SOURCES)]
)
def test_help_lists_what_is_in_the_tables(
    setting: str, table: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert f" One of {', '.join(table)}." in text[text.index(f"--{setting} {setting.upper()} ") :]


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
    assert given == {"model": "fcnn", "flip": False, "epochs": 2, "steps": None, "data_dir": "d"}


def test_a_mistyped_name_in_yaml_gets_a_hint() -> None:
    assert refusal("--config", "{modle: fcnn}") == (
        "the text of --config, line 1: there is no setting 'modle'; did you mean model?"
    )


def test_the_rate_of_the_optimizer_is_recorded_and_does_not_outlive_it(tmp_path: Path) -> None:
    file, other = tmp_path / "settings.yaml", tmp_path / "other.yaml"
    write_settings(file, parse("--optimizer", "adam").merged)
    other.write_text("optimizer: sgd\n")
    assert read_settings(file)["learning_rate"] == 0.001

    def rate(*arguments: object) -> float | None:
        return parse("--config", file, *arguments).optimizer.learning_rate

    assert rate() == rate("--optimizer", "adam") == 0.001
    assert rate("--optimizer", "sgd") == rate("--config", other) == 0.1
    assert rate("--optimizer", "sgd", "--lr", 0.001) == rate("--lr", 0.001, "--config", other) == 0.001
    write_settings(file, parse("--optimizer", "adam", "--lr", 0.01).merged)
    assert rate("--optimizer", "sgd") == 0.01


@pytest.mark.parametrize(
    ("setting", "default"),
    [
        ("learning_rate", "Default: that of the optimizer: sgd 0.1, momentum 0.02,"),
        ("dropout", "Default: that of the network: 0 for lenet5; 0.2 for googlenet-bn; 0.25 for lenet5-like; "),
        ("epochs", "Default: 10."),
        ("model", "Default: lenet5-like."),
        ("no_flip", "Default: false."),
        ("average_decay", "Default: 0."),
        ("l2", "Default: 0."),
    ],
)
def test_help_tells_defaults(setting: str, default: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split()).partition(f" --{setting} ")[2]
    assert default in text[: text.index(" --")]


def test_help_begins_with_a_short_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    usage, empty, description = capsys.readouterr().out.splitlines()[:3]
    assert usage.endswith(" [--NAME VALUE] ...")
    assert (empty, description) == ("", "A program.")


def test_versions(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("--version", "--epochs", "3")
    assert caught.value.code == 0
    assert re.fullmatch(r"cnn \S+, TensorFlow 2\.\S+, Keras 3\.\S+, Horovod 0\.28\.1\n", capsys.readouterr().out)


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


ANY_TEXT = TEXTS | st.sampled_from(
    ["1e3", "1.5e-7", "2026-05-04", "nothing", "yes", "0x1f", "1:30", "caf\udce9", "-x", "010", "[a]", "\u201ca\u201d"]
)


@examples(25)
@given(ANY_TEXT)
def test_any_text_comes_back_from_a_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.yaml"
    settings = parse("--data", "mnist", f"--data_dir=./{text}", f"--run_dir=./{text}")
    write_settings(file, settings.merged)
    assert read_settings(file) == settings.merged
    assert parse(f"--config={file}") == settings


def values_of(hint: object) -> st.SearchStrategy[object]:
    """Values that a setting of a type may have."""
    kinds: dict[object, st.SearchStrategy[object]] = {
        int: st.integers(1 - 2**63, 2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        str: ANY_TEXT.filter(lambda text: text.strip() not in ("", "~") and not text.startswith("~/"))
        | st.sampled_from(["null", "NULL", "no", "0123", "x" * 90 + " y" * 60]),
        typing.Literal["auto"]: st.just("auto"),
    }
    parts = typing.get_args(hint) or (hint,)
    return st.one_of([st.none() if part is type(None) else kinds[part] for part in parts])


@examples(60)
@given(st.fixed_dictionaries({name: values_of(hint) for name, hint in training_hints().items()}))
def test_any_values_of_all_types_come_back_from_a_file(tmp_path: Path, values: dict[str, object]) -> None:
    write_settings(tmp_path / "settings.yaml", values)
    again = read_settings(tmp_path / "settings.yaml")
    assert list(map(repr, again.items())) == list(map(repr, values.items()))


def test_settings_that_earlier_versions_wrote(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    long = "x" * 79
    file.write_text(f"l2: 1.0e-05\nsteps: null\nflip: true\nrun_dir: '010'\nmodel: '1e-3'\ndata_dir: {long}\n  a b\n")
    assert read_settings(file) == {
        "l2": 1e-5,
        "steps": None,
        "flip": True,
        "run_dir": "010",
        "model": "1e-3",
        "data_dir": f"{long} a b",
    }


SETTING = st.sampled_from(["epochs", "steps", "l2", "clip_norm", "flip", "run_dir", "data_dir"])
NUMBERS = st.from_regex(r"[-+ ]?[0-9_\uff17]{0,3}[.,:x]?[0-9]{0,2}([eE]-?[0-9])?", fullmatch=True)
WORDS = st.sampled_from(
    ["yes", "On", "FALSE", "null", "~", "nan", ".inf", "1e999", "010", "1e-3", "1_0", "", " 7 ", "None"]
)


@examples(200)
@given(SETTING, NUMBERS | WORDS | TEXTS)
def test_a_value_in_a_file_is_what_the_same_characters_are_on_the_command_line(
    tmp_path: Path, name: str, text: str
) -> None:
    file = tmp_path / "a.yaml"
    try:
        plain = yaml.compose(f"{name}: {text}", yaml.BaseLoader)
        value = plain.value[0][1] if isinstance(plain, yaml.MappingNode) else None
    except yaml.YAMLError:
        value = None
    bare = isinstance(value, yaml.ScalarNode) and value.style is None and value.value == text.strip()
    assume(text.strip() if bare else text != "null")
    file.write_text(f"{name}: {text if bare else json.dumps(text)}\n")
    data = "--data=mnist"

    def result(*arguments: object) -> object:
        try:
            return parse(data, *arguments).merged
        except UserError:
            return "refused"

    assert result("--config", file) == result(f"--{name}={text.strip() if bare else text}")


WORDS_OF_A_LINE = (
    st.sampled_from([f"--{name}" for name in (*training_hints(), "no_flip", "lr", "run-dir", "config", "workers")])
    | st.sampled_from(
        ["-", "--", "---", "-1", "-x", "--=", "--a=b", "\u2013epochs", "\u2013", "", " ", "lenet5", "a.yaml"]
    )
    | TEXTS
)


@examples(300)
@given(st.lists(WORDS_OF_A_LINE, max_size=4))
def test_any_words_are_settings_or_one_sentence(words: list[str]) -> None:
    read_or_sentence(lambda: parse(*words), "", UserError)


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--epochs", "010"], "epochs", 10),
        (["--epochs", "1_000"], "epochs", 1000),
        (["--seed", " 7"], "seed", 7),
        (["--learning_rate", "1e-3"], "learning_rate", 0.001),
        (["--run_dir", "010"], "run_dir", "010"),
        (["--run_dir", "null"], "run_dir", None),
        (["--run_dir=~/a"], "run_dir", os.path.expanduser("~/a")),
        (["--flip"], "flip", True),
        (["--flip=off"], "flip", False),
        (["--flip", "Yes"], "flip", True),
        (["--no_flip"], "flip", False),
        (["--flip", "--no_flip"], "flip", False),
        (["--steps", "null"], "steps", None),
        (["--run-dir", "a"], "run_dir", "a"),
        (["--run-dir=a=b"], "run_dir", "a=b"),
        (["--run_dir=-a"], "run_dir", "-a"),
        (["--no-flip"], "flip", False),
        (["--lr", "0.5"], "learning_rate", 0.5),
        (["--lr=0.5"], "learning_rate", 0.5),
        (["--epochs", "3", "--epochs", "5"], "epochs", 5),
    ],
)
def test_what_words_mean(arguments: list[str], name: str, value: object) -> None:
    assert repr(parse(*arguments).merged[name]) == repr(value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--epochs", "1e1"], "--epochs '1e1' is not a whole number: write 10."),
        (["--epochs", "0x10"], "--epochs '0x10' is not a whole number"),
        (["--epochs", "10.0"], "--epochs '10.0' is not a whole number: write 10."),
        (["--epochs", "1,000"], "--epochs '1,000' is not a whole number: write 1000."),
        (["--epochs", "10.5"], "--epochs '10.5' is not a whole number: write it in decimal digits"),
        (["--epochs", "1e30"], "--epochs '1e30' is not a whole number: write it in decimal digits"),
        (["--seed", "\uff17"], "--seed '\uff17' is not a whole number: write 7."),
        (["--seed", "9" * 5000], "is not a whole number"),
        (["--learning_rate", "0,5"], "--learning_rate '0,5' is not a number: write 0.5."),
        (["--learning_rate", "1,000"], "--learning_rate '1,000' is not a number: write it with a decimal point"),
        (["--learning_rate", "\u22121e-3"], "--learning_rate '\u22121e-3' is not a number: write -1e-3."),
        (["--clip_norm", "inf"], "--clip_norm 'inf' is not a number"),
        (["--decay_epochs", "1e999"], "--decay_epochs '1e999' is not a number"),
        (["--flip", "1"], "--flip '1' is neither true nor false"),
        (["--epochs", "null"], "--epochs has no value"),
        (["--run_dir=~"], "--run_dir '~' means null in YAML but the home folder in shells"),
        (["--epoch", "3"], "did you mean --epochs?"),
        (["epochs=3"], "did you mean --epochs?"),
        (["--conf", "a.yaml"], "did you mean --config?"),
    ],
)
def test_words_that_mean_nothing(arguments: list[str], told: str) -> None:
    assert told in refusal(*arguments)


@pytest.mark.parametrize("name", [*training_hints(), "config"])
@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_value_is_refused(tmp_path: Path, name: str, empty: str) -> None:
    assert f"--{name} is empty, as when a shell variable is not set" in refusal(f"--{name}={empty}")
    if name != "config":
        (tmp_path / "a.yaml").write_text(f"{name}: '{empty}'\n")
        assert f"line 1: {name} is empty" in refusal("--config", tmp_path / "a.yaml")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Texts:
    """A section with a list of texts."""

    prediction: PredictionSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Numbers:
    """A section with a list of numbers."""

    proof: ProofSettings


def test_lists(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("images: [010, no, 'null']\n")
    from_file = ["--config", str(file)]
    assert parse_settings("", Texts, from_file).prediction.images == ["010", "no", "null"]
    assert parse_settings("", Texts, ["--images", "010", "no"]).prediction.images == ["010", "no"]
    file.write_text("workers: 010\n")
    assert parse_settings("", Numbers, from_file).proof.workers == [10]
    assert parse_settings("", Numbers, ["--workers", "1", "02"]).proof.workers == [1, 2]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("workers: [1, null]", "workers has no value"),
        ("workers: 1 2", "workers '1 2' is not a whole number"),
        ("workers: [[1]]", "workers is a list instead"),
        ("models: [fcnn, '']", "models is empty"),
    ],
)
def test_lists_with_something_wrong_in_them(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=f"a.yaml, line 1: {told}"):
        parse_settings("", Numbers, [f"--config={tmp_path / 'a.yaml'}"])


def test_an_empty_word_in_a_list_is_refused() -> None:
    with pytest.raises(UserError, match="--images is empty"):
        parse_settings("", Texts, ["--images", "a", ""])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("model: fcnn\nepochs: 1:30", ", line 2: epochs '1:30' is not a whole number"),
        ("epochs: 3,", ", line 1: epochs '3,' is not a whole number"),
        ("model: fcnn\nepochs=3", " cannot be read: line 2: "),
        ("epochs = 3\n", " holds no settings: line 1, 'epochs = 3', is not a name"),
        ("epochs:3\n", " holds no settings: line 1, 'epochs:3', is not a name"),
        ("\u00a0epochs: 3", r", line 1: there is no setting '\xa0epochs'; did you mean epochs?"),
        ("epochs: 3\u00a0", r", line 1: epochs '3\xa0' is not a whole number"),
        ("\nrun-dir: a", ", line 2: there is no setting 'run-dir'; did you mean run_dir?"),
        ("Epochs: 3", ", line 1: there is no setting 'Epochs'; did you mean epochs?"),
        ("--epochs: 3", ", line 1: there is no setting '--epochs'; did you mean epochs?"),
        ("run: {epochs: 3}", ", line 1: there is no setting 'run'; write settings without sections."),
        ("model: {name: fcnn}", ", line 1: model is a section instead of one value: write settings without sections."),
        ("config: b.yaml", ", line 1: there is no setting 'config'; leave it out."),
        ("- epochs: 3", " holds a list instead of settings"),
        ("# epochs: 3\n", " holds no settings: write one per line"),
        ("epochs: 3\nepochs: 4", " cannot be read: line 2: epochs is already in line 1"),
        ("data: mnist\ndata_dir: [a]", ", line 2: data_dir is a list instead of one value"),
        ("epochs: 3\n---\nseed: 2", " cannot be read: line 2: expected a single document"),
    ],
)
def test_files_are_told_with_line_and_setting(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "a.yaml").write_text(content, "utf-8")
    assert f"a.yaml{told}" in refusal("--config", tmp_path / "a.yaml")


def test_a_folder_whose_name_begins_with_a_brace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("{a}").mkdir()
    write_settings(Path("{a}/settings.yaml"), parse("--epochs", 3).merged)
    assert read_settings(Path("{a}/settings.yaml"))["epochs"] == parse("--config={a}/settings.yaml").run.epochs == 3


def test_json_is_a_file_of_settings(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{\n  "epochs": 3, "flip": true,\n  "learning_rate": 1E-3, "steps": null\n}\n')
    settings = parse("--config", tmp_path / "a.json")
    assert (settings.run.epochs, settings.augmentation.flip, settings.optimizer.learning_rate) == (3, True, 0.001)


def test_what_print_config_prints_is_a_file_of_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--data", "mnist", "--data_dir=\u201ca\u201d", "--l2", "1e-5", "--run_dir", "a  b " * 30, "--flip"]
    with pytest.raises(SystemExit):
        parse(*arguments, "--print_config")
    (tmp_path / "a.yaml").write_text(capsys.readouterr().out)
    assert parse("--config", tmp_path / "a.yaml") == parse(*arguments)


def test_a_file_that_is_wrong_is_named(tmp_path: Path) -> None:
    for content in ("model: [", "- 1", "model: !!int x"):
        (tmp_path / "mine.yaml").write_text(content)
        assert "mine.yaml" in refusal("--config", tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    "name", ["global_batch_size", "group_size", "epochs", "steps", "log_every", "save_every", "patience", "seed"]
)
@pytest.mark.parametrize("digits", [20, 311, 5000])
def test_whole_numbers_that_nothing_could_hold(name: str, digits: int) -> None:
    said = refusal(f"--{name}", "9" * digits)
    assert name in said
    assert len(said) < 200 or digits == 5000
    assert str(digits) in said or digits == 5000


@pytest.mark.parametrize(("steps", "ranks"), [("100:110", "0"), ("0:1", "0,3"), ("1:59", "all"), ("10:30", "10,30")])
def test_what_a_profile_is_made_of(tmp_path: Path, steps: str, ranks: str) -> None:
    """YAML has numbers of base 60, and with commas."""
    settings = parse("--profile_steps", steps, "--profile_ranks", ranks)
    assert (settings.run.profile_steps, settings.run.profile_ranks) == (steps, ranks)
    write_settings(tmp_path / "a.yaml", settings.merged)
    (tmp_path / "b.yaml").write_text(f"profile_steps: {steps}\nprofile_ranks: {ranks}\n")
    for name in ("a.yaml", "b.yaml"):
        run = parse("--config", tmp_path / name).run
        assert (run.profile_steps, run.profile_ranks) == (steps, ranks), name


def test_a_scaled_rate_that_is_no_number() -> None:
    assert "scaled from --scale_learning_rate 1 to --global_batch_size 1000, is inf" in refusal(
        *("--learning_rate", 1e307, "--scale_learning_rate", 1, "--global_batch_size", 1000)
    )
    assert "e-40: give another" in refusal("--learning_rate", 1e-30, "--scale_learning_rate", 2**40)
