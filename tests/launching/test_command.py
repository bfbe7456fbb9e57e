"""The program `cnn`: what it lists, which program a command is, and what it says about mistyped ones."""

import importlib.util
import os
import re
import shlex
import sys
import typing
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cnn.errors import UserError
from cnn.launching.command import overview, program_of, programs
from cnn.runs.saved_run import open_run
from cnn.settings.options import options_of
from cnn.settings.settings import TrainingSettings, parse_given, parse_settings, training_defaults, write_settings
from cnn.settings.unknown_word import OF_PROGRAMS
from cnn.whole_file import write_whole


@cache
def module(program: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"command_{program.stem}", program)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where the parser looks for the settings' docstrings
    spec.loader.exec_module(module)
    return module


def settings_of(line: str) -> Any:
    """The settings that `cnn LINE` reads."""
    command, *words = shlex.split(line)
    code = module(program_of(command, programs()))
    if command != "sweep":
        return parse_settings("", getattr(code, "Settings", TrainingSettings), words)
    settings, given = parse_given("", code.SweepSettings, TrainingSettings, words)
    code.check_recipe(settings, given)
    return settings


def refusal(line: str) -> str:
    with pytest.raises(UserError) as caught:
        open_run(settings_of(line).network.folder)
    assert caught.value.exit_code == 2
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith((".", "?"))
    return sentence


HELP = "--help lists all options."

UNKNOWN_OPTIONS = [
    ("train --learning_rte 0.1", f"there is no option --learning_rte; did you mean --learning_rate? {HELP}"),
    ("train --EPOCHS 3", f"there is no option --EPOCHS; did you mean --epochs? {HELP}"),
    ("train --no_epochs", f"there is no option --no_epochs; did you mean --epochs? {HELP}"),
    ("train --no-resum", f"there is no option --no-resum; did you mean --no_resume? {HELP}"),
    ("train --batch_size 64", f"there is no option --batch_size; did you mean --global_batch_size? {HELP}"),
    ("train --batch-size=64", f"there is no option --batch-size; did you mean --global_batch_size? {HELP}"),
    ("evaluate runs/a --global-batch-size 8", "did you mean --batch_size?"),
    ("prove --batch_size 8", "did you mean --proof_batch_size?"),
    ("train --dataset mnist", "did you mean --data?"),
    ("train --arch resnet50", "did you mean --model?"),
    ("train --output_dir runs/b", "did you mean --run_dir?"),
    ("export runs/a --out exported", "did you mean --output?"),
    ("train --pretrained runs/a", "did you mean --initialize_from?"),
    ("train --max-steps 5", "did you mean --steps?"),
    ("train --zzzzz", f"there is no option --zzzzz; {HELP}"),
    ("train --workers 2", "there is no option --workers: a launcher starts the workers, `mpirun -np 2 cnn train` for"),
    ("train -np 2", "there is no option -np: a launcher starts the workers"),
    ("train -H a:2,b:2", "there is no option -H: a launcher starts the workers"),
    ("train --gpu 0", "there is no option --gpu: the environment variable CNN_DEVICE, gpu or cpu, chooses"),
    ("train --momentum 0.9", "there is no option --momentum: --optimizer momentum has a momentum of 0.9."),
    ("train --images cat.jpg", f"there is no option --images here: it belongs to `cnn predict`; {HELP}"),
    ("train --recipe a.yaml", "it belongs to `cnn sweep`"),
    ("evaluate runs/a --model lenet5", "there is no option --model here: it belongs to `cnn train`"),
    ("export runs/a --part test", "there is no option --part here: it belongs to `cnn evaluate`"),
    ("predict runs/a --data_dir photographs", "there is no option --data_dir; did you mean --images?"),
    (
        "train '--model lenet5'",
        "'--model lenet5' is a single word: write --model lenet5 without quotation marks around",
    ),
]

DASHES = [
    ("train -epochs 3", "'-epochs' does not begin with two dashes of the keyboard: write --epochs."),
    ("train \u2013model lenet5", "'\u2013model' does not begin with two dashes of the keyboard: write --model."),
    ("train \u2014lr=0.1", "'\u2014lr=0.1' does not begin with two dashes of the keyboard: write --learning_rate=0.1."),
    ("evaluate \u2013part test", "'\u2013part' does not begin with two dashes of the keyboard: write --part."),
    ("train --seed \u22125", "--seed '\u22125' is not a whole number: write -5."),
    ("train --lr -1e-3", "--learning_rate -0.001 is not a positive number: give one, for example 0.001."),
    ("train --epochs -3", "--epochs -3 is less than 1: set a whole number of at least 1."),
    (
        "train --run_dir -a",
        "--run_dir has no value: give it one, --run_dir=-a if it begins with a dash, or leave it out.",
    ),
]

VALUES = [
    ("train --epochs", "--epochs has no value: give it one, --epochs 10 for example, or leave it out."),
    ("train --epochs --lr 0.1", "--epochs has no value: give it one, --epochs 10 for example, or leave it out."),
    ("train --run_dir", "--run_dir has no value: give it one, or leave it out."),
    ("train --config", "--config has no value: give it one, or leave it out."),
    ("prove --workers", "--workers has no value: give it one, --workers 1 2 3 for example, or leave it out."),
    ("train --epochs=", "--epochs is empty, as when a shell variable is not set: give it a value, or leave it out."),
    ("train --run_dir ''", "--run_dir is empty, as when a shell variable is not set"),
    ("evaluate ''", "--run_dir is empty, as when a shell variable is not set"),
    ("train --epochs ten", "--epochs 'ten' is not a whole number: write it in decimal digits, 10 for example."),
    ("train --epochs 1e3", "--epochs '1e3' is not a whole number: write 1000."),
    ("train --epochs 1,000", "--epochs '1,000' is not a whole number: write 1000."),
    ("train --epochs 2.5", "--epochs '2.5' is not a whole number: write it in decimal digits"),
    ("train --lr 1e-3x", "--learning_rate '1e-3x' is not a number: write it with a decimal point or an exponent"),
    ("train --lr 0,01", "--learning_rate '0,01' is not a number: write 0.01."),
    ("train --lr nan", "--learning_rate 'nan' is not a number"),
    ("train --flip random", "--flip 'random' is neither true nor false: give one of these, or yes, no, on or off."),
    ("prove --workers 1 two", "--workers 'two' is not a whole number"),
    ("train --model LeNet-6", "Did you mean 'lenet5'?"),
    ("train --model ResNet_50", "Did you mean 'resnet50'?"),
    ("train --model \u201clenet5\u201d", "Did you mean 'lenet5'?"),
    ("train --optimizer SGD", "unknown optimizer 'SGD': choose one of sgd, momentum, "),
    ("train --optimizer SGD", "Did you mean 'sgd'?"),
    ("train --data fashion_mnist", "Did you mean 'fashion-mnist'?"),
    ("train --data MNIST", "Did you mean 'mnist'?"),
    ("train --data_dir photographs", "add --data folder if it holds your own images, or leave data_dir out."),
    ("train --data folder", "the data set folder needs data_dir: name the folder that holds one folder of images per"),
    ("train --help=3", "--help takes no value: write it without =3."),
    ("train --version=1", "--version takes no value: write it without =1."),
    ("train --print_config=all", "--print_config takes no value: write it without =all."),
    (
        "predict runs/a --images a.jpg --images b.jpg",
        "--images is given twice: write all its values after one --images.",
    ),
    ("predict runs/a", "--images is missing: name image files, or folders of them."),
]

LOOSE_WORDS = [
    ("train lenet5", "'lenet5' follows no option; did you mean --model lenet5?"),
    ("train MNIST", "'MNIST' follows no option; did you mean --data mnist?"),
    ("train model lenet5", "'model' follows no option; did you mean --model?"),
    ("train epochs=3", "'epochs=3' follows no option; did you mean --epochs?"),
    ("train recipe.yaml", "'recipe.yaml' follows no option; did you mean --config recipe.yaml?"),
    ("sweep recipe.yaml", "'recipe.yaml' follows no option; did you mean --recipe recipe.yaml?"),
    ("train --data folder --data_dir my photographs", "'photographs' follows no option: a value that has spaces needs"),
    ("train ' ' --epochs 3", "a word is empty, as after a backslash and a space, or when a shell variable is not set"),
    ("train -- lenet5", "'lenet5' follows no option; did you mean --model lenet5?"),
]

FOLDERS_AND_FILES = [
    (
        "evaluate",
        "--run_dir is missing: name the folder of the run that trained the network, before all options or after",
    ),
    ("predict --images cat.jpg runs/a", "--run_dir is missing: name the folder of the run that trained the network"),
    ("evaluate runs/b", "runs/b does not exist: name a folder that jobs/train.py has written, runs/a for example."),
    ("evaluate run/a", "run/a does not exist: name a folder that jobs/train.py has written."),
    ("evaluate runs", "runs holds no run; did you mean runs/a?"),
    ("evaluate runs/a/settings.yaml", "runs/a/settings.yaml holds no run; did you mean runs/a?"),
    (
        "evaluate runs/a runs/b",
        "'runs/b' is one folder too many after 'runs/a': name one, and put a path that has spaces",
    ),
    ("evaluate runs/a --run-dir runs/b", "'runs/b' is one folder too many after 'runs/a'"),
    ("train --config runs/a", "runs/a cannot be read: it is a folder; did you mean runs/a/settings.yaml?"),
    ("train --config runs", "runs cannot be read: it is a folder; name a file of settings."),
    ("train --config runs/a/setings.yaml", "No such file or directory; did you mean runs/a/settings.yaml?"),
    ("train --config none.yaml", "none.yaml cannot be read: No such file or directory."),
    ("train --config cat.jpg", "cat.jpg cannot be read: line 1 is not text in UTF-8"),
    ("train --config '{epochs: 3'", "the text of --config cannot be read: line 1: "),
    ("train --config '{epochs: ten}'", "the text of --config, line 1: epochs 'ten' is not a whole number"),
    ("train --config '{batch: 3}'", "there is no setting 'batch'"),
    ("sweep --recipe runs", "the recipe runs cannot be read: it is a folder; name a file of settings."),
    ("sweep", "--recipe is missing: name a file, for example jobs/recipes/tutorial-mnist.yaml."),
]

COMMANDS = [
    ("trian --epochs 3", "there is no command 'trian'; did you mean cnn train?"),
    ("Evaluate runs/a", "there is no command 'Evaluate'; did you mean cnn evaluate?"),
    ("jobs/train.py", "there is no command 'jobs/train.py'; did you mean cnn train?"),
    ("zzz", "there is no command 'zzz': choose one of train, evaluate, predict, export, prepare, benchmark, doctor, "),
    ("--model lenet5", "--model stands before the command: write `cnn train --model ...`, for example."),
    ("\u2013version", "there is no command '\u2013version'"),
]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a run and a photograph."""
    monkeypatch.chdir(tmp_path)
    os.makedirs("runs/a")
    write_settings(Path("runs/a/settings.yaml"), {**training_defaults(), "run_dir": "runs/a"})
    write_whole(Path("cat.jpg"), b"\xff\xd8\xff\xe0")


@pytest.mark.parametrize(
    ("line", "sentence"), [*UNKNOWN_OPTIONS, *DASHES, *VALUES, *LOOSE_WORDS, *FOLDERS_AND_FILES, *COMMANDS]
)
def test_a_mistyped_command_line_gets_one_sentence(line: str, sentence: str, workspace: None) -> None:
    assert sentence in refusal(line)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("evaluate runs/a", "run_dir", "runs/a"),
        ("evaluate --checkpoint last runs/a", "run_dir", "runs/a"),
        ("evaluate --run-dir runs/a", "run_dir", "runs/a"),
        ("evaluate -- runs/a", "run_dir", "runs/a"),
        ("export runs/a", "run_dir", "runs/a"),
        ("predict runs/a --images cat.jpg", "run_dir", "runs/a"),
    ],
)
def test_the_run_folder_may_stand_without_its_name(line: str, name: str, value: str, workspace: None) -> None:
    assert getattr(settings_of(line).network, name) == value


@pytest.mark.parametrize("line", ["evaluate runs/a --batch-size 200", "evaluate runs/a --batch_size=200"])
def test_dashes_stand_for_underscores(line: str, workspace: None) -> None:
    assert settings_of(line).evaluation.batch_size == 200


def test_every_program_is_listed_in_a_short_line() -> None:
    lines = overview().splitlines()
    assert lines[0] == "usage: cnn COMMAND ..."
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(programs())
    assert max(map(len, lines)) <= 80
    assert all(re.match(r"  \w+ +[A-Z]\w+s .*\w$", line) for line in lines if line.startswith("  "))


@pytest.mark.parametrize(("option", "program"), OF_PROGRAMS.items())
def test_options_that_are_said_to_belong_to_a_program_do(option: str, program: str) -> None:
    code = module(programs()[program])
    groups = (
        (code.SweepSettings,)
        if program == "sweep"
        else typing.get_type_hints(getattr(code, "Settings", TrainingSettings)).values()
    )
    assert option in options_of(tuple(groups))
