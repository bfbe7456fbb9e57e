"""README.md and docs: links, names, options and commands exist, the cheap commands run, and so does the Python."""

import functools
import importlib.util
import itertools
import os
import re
import shlex
import subprocess
import sys
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cnn.data.feed.augmentation import CROPS
from cnn.data.sources.registry import SOURCES
from cnn.errors import UserError
from cnn.launching import elastic_launcher, launcher
from cnn.models.registry import NETWORKS
from cnn.optim.optimizers import OPTIMIZERS
from cnn.optim.schedules import SCHEDULES
from cnn.settings.settings import TrainingSettings, parse_given, parse_settings, training_defaults, write_settings

from .measuring.measured_example import MEASURED

ROOT = Path(__file__).parents[1]
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"))}
README, TRAINING, TUTORIAL, ADDING = (
    PAGES["README.md"],
    *(PAGES[f"docs/{name}.md"] for name in ("training", "tutorial", "adding")),
)
PROGRAMS = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("jobs/*.py"))]

OTHERS = ("conda", "curl", "docker", "jupyter", "kubectl", "pip", "source", "ssh-keygen", "syft", "tensorboard", "uv")
"""Programs of others that commands may start, whose options are not looked at."""

OPTIONS_OF_OTHERS = {
    *("--build-arg", "--cap-drop", "--read-only", "--security-opt", "--tmpfs"),  # docker
    *("--check-build", "--gloo"),  # horovodrun
    *("--file", "--no-deps", "--editable"),  # conda, pip
    *("--bind_all", "--prefix"),  # tensorboard, mpirun
    "--gang-scheduling",  # the MPI operator
}

ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def blocks(page: str, language: str) -> list[str]:
    return [
        body for kind, body in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if kind == language
    ]


def prose(page: str) -> str:
    return re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)


def code_spans(page: str) -> list[str]:
    text = re.sub(r"`` .*? ``", "", prose(page))
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def commands(page: str) -> Iterator[str]:
    """Of the blocks, and of the text those that start a program of ours."""
    for block in blocks(page, "bash"):
        yield from (line for line in block.replace("\\\n", " ").splitlines() if line.strip())
    yield from (
        span for span in code_spans(page) if re.match(r"(python jobs/\w+\.py|cnn \w+|bash launch/\w+\.sh) ", span)
    )


ALL_COMMANDS = sorted({command for page in PAGES.values() for command in commands(page)})


def anchors(page: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(PAGES[name])):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text()), target


def test_every_page_is_linked_from_the_readme() -> None:
    assert {f"docs/{name}" for name in re.findall(r"\]\(docs/(\w[\w-]*\.md)\)", README)} == PAGES.keys() - {"README.md"}


def test_the_readme_is_short_and_has_a_picture() -> None:
    assert len(README.splitlines()) <= 200
    assert len(re.findall(r"^!\[[^\]]+\]\(.*\.png\)$", README, re.MULTILINE)) == 1


@pytest.mark.parametrize("name", PAGES)
def test_files_and_tests_that_are_named_exist(name: str) -> None:
    tests = "".join(path.read_text() for path in ROOT.glob("tests/**/test_*.py"))
    for span in code_spans(PAGES[name]):
        for path in re.findall(r"(?<![\w/])(?:cnn|docs|jobs|k8s|launch|tests)/[\w./-]*\w", span):
            assert (ROOT / path).exists(), path
        for test in re.findall(r"::(test_\w+)$", span):
            assert f"def {test}(" in tests, test


@pytest.mark.parametrize("name", ["docs/how-it-works.md", "docs/adding.md"])
def test_functions_and_classes_that_are_named_exist(name: str) -> None:
    source = "".join(path.read_text() for path in (*ROOT.glob("cnn/**/*.py"), *ROOT.glob("jobs/*.py")))
    words = set(re.findall(r"\w+", source))
    for span in code_spans(PAGES[name]):
        is_name = re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*(\(.*\))?", span) and re.search(r"[A-Z_(.]", span)
        if is_name and not span.endswith((".jsonl", ".lock", ".log", ".md", ".yaml")):
            assert set(re.findall(r"[A-Za-z_]\w*", span)) <= words, span


@functools.cache
def program(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{Path(path).stem}", ROOT / path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where the parser looks for the settings' docstrings
    spec.loader.exec_module(module)
    return module


def settings_of(path: str) -> Any:
    module = program(path)
    return getattr(module, "Settings", TrainingSettings)


def check_program(path: str, words: Sequence[str]) -> None:
    """Reads the settings as the program does, which refuses what does not exist or does not go together."""
    assert path in PROGRAMS, path
    words = [word for word in words if word not in ("--help", "--print_config")]
    if path == "jobs/sweep.py":
        if words:
            settings, _ = parse_given("", program(path).SweepSettings, TrainingSettings, words)
            assert Path(settings.recipe).is_file(), settings.recipe
    elif words:
        parse_settings("", settings_of(path), words)


def check_module(module: str, words: Sequence[str]) -> None:
    path = ROOT / f"{module.replace('.', '/')}.py"
    assert path.is_file(), module
    for word in words:
        assert not word.startswith("--") or f'"{word}"' in path.read_text(), word


def check_script(script: str, words: list[str]) -> None:
    assert (ROOT / script).is_file(), script
    if script in ("launch/mpirun.sh", "launch/horovodrun.sh"):
        given, rest = launcher.parse([Path(script).stem, *words])
        check_program(given.program, rest)
    elif script == "launch/elastic.sh":
        check_program("jobs/train.py", elastic_launcher.parse(words)[1])
    elif script in ("launch/quickstart.sh", "launch/slurm.sbatch"):
        check_program("jobs/train.py", words)
    else:
        text = (ROOT / script).read_text()
        for word in words:
            assert word in text if word.startswith("--") else "/" not in word or (ROOT / word).exists(), word


def check_command(words: list[str]) -> None:
    while re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if words[0] in ("mpirun", "horovodrun"):
        words = words[words.index("python" if "python" in words else "cnn") :]
    if words[0] == "sbatch":
        words = ["bash", *words[words.index("launch/slurm.sbatch") :]]
    if words[0] == "docker" and "bash" in words:
        words = words[words.index("bash") :]
    if words[0] == "cnn":
        words = ["python", f"jobs/{words[1]}.py", *words[2:]]
    if words[:2] == ["python", "-m"]:
        check_module(words[2], words[3:])
    elif words[0] == "python":
        check_program(words[1], words[2:])
    elif words[0] == "bash":
        check_script(words[1], words[2:])
    else:
        assert words[0] in OTHERS, words[0]
        for word in words:
            assert not word.startswith("k8s/") or (ROOT / word).parent.is_dir(), word


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_commands_are_understood(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder with the recipes, and with the run and the measurements that commands go back to."""
    (tmp_path / "jobs").symlink_to(ROOT / "jobs")
    (tmp_path / "runs/a").mkdir(parents=True)
    write_settings(tmp_path / "runs/a/settings.yaml", {**training_defaults(), "run_dir": "runs/a"})
    (tmp_path / "two.json").write_text(MEASURED.to_json())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ENVIRONMENT["PATH"])
    words = shlex.split(command, comments=True)
    for together, each in itertools.groupby(words, lambda word: word != "&&"):
        if together:
            check_command(list(each))


@pytest.mark.parametrize("wrong", [
    "python jobs/train.py --modle lenet5",
    "python jobs/train.py --model lenet6",
    "python jobs/train.py --config jobs/recipes/none.yaml",
    "python jobs/none.py",
    "cnn none",
    "cnn train --modle lenet5",
    "mpirun -np 2 cnn evaluate runs/a runs/b",
    "python -m tests.gpu.none",
    "python -m tests.gpu.check --none",
    "bash launch/none.sh",
    "bash launch/mpirun.sh --none -- --model lenet5",
    "bash launch/mpirun.sh -H a:1 -- --none",
    "bash launch/test.sh --none",
    "bash launch/test.sh tests/none",
    "python jobs/sweep.py --recipe none.yaml",
    "sbatch launch/slurm.sbatch --none",
    "kubectl apply -k k8s/none/none",
    "none",
])  # fmt: skip
def test_commands_that_are_wrong_are_seen(wrong: str) -> None:
    with pytest.raises((AssertionError, UserError)):
        check_command(wrong.split())


CHEAP = [command for command in ALL_COMMANDS if re.search(r"--(help|dry_run|print_config)\b", command)]


def test_some_commands_are_cheap() -> None:
    assert len(CHEAP) >= 3


@pytest.mark.parametrize("command", CHEAP)
def test_cheap_commands_run(command: str) -> None:
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert not done.stderr


def known_options() -> set[str]:
    kinds = [settings_of(path) for path in PROGRAMS]
    groups = {group for kind in kinds for group in typing.get_type_hints(kind).values()}
    groups.add(program("jobs/sweep.py").SweepSettings)
    names = {name for group in groups for name in typing.get_type_hints(group)}
    scripts = "".join(path.read_text() for path in (*ROOT.glob("launch/*"), *ROOT.glob("cnn/launching/*launcher.py")))
    of_scripts = set(re.findall(r"--[a-z][\w-]*", scripts))
    with_dashes = {name.replace("_", "-") for name in names}
    of_programs = {*names, *with_dashes, "lr", "config", "help", "print_config"}
    return {f"--{name}" for name in of_programs} | of_scripts | OPTIONS_OF_OTHERS


@pytest.mark.parametrize("name", PAGES)
def test_options_in_the_text_exist(name: str) -> None:
    known = known_options()
    for span in code_spans(PAGES[name]):
        for option in re.findall(r"(?<!\S)--[a-z][\w-]*", span):
            assert option in known, span
        if span.startswith("--model "):
            parse_settings("", TrainingSettings, span.split())


@pytest.mark.parametrize(
    ("page", "names"),
    [(README, NETWORKS), (README, SOURCES), (TRAINING, OPTIMIZERS), (TRAINING, SCHEDULES)],
    ids=["networks", "data sets", "optimizers", "schedules"],
)
def test_every_choice_is_on_a_page(page: str, names: dict[str, object]) -> None:
    assert names.keys() <= set(code_spans(page))


def test_every_crop_is_on_a_page() -> None:
    assert {f"--crop {name}" for name in CROPS} - {"--crop centre"} <= set(code_spans(TRAINING))


@pytest.mark.parametrize("name", sorted(PAGES.keys() - {"docs/adding.md"}))
def test_python_is_python(name: str) -> None:
    for block in blocks(PAGES[name], "python"):
        compile(block, name, "exec")


def test_the_tutorial_s_python_runs() -> None:
    """From one piece to the next, as it says; assertions in it are its own."""
    names: dict[str, Any] = {}
    for block in blocks(TUTORIAL, "python"):
        exec(block, names)
    assert names["network"].count_params() == 61_706


def test_what_the_tutorial_shows_is_what_programs_print() -> None:
    from cnn.models.layer_table import layer_rows, layer_table, output_size_table
    from cnn.models.registry import ModelSettings, build_network, check_image_size

    lenet = build_network(ModelSettings(model="lenet5"), (28, 28, 1), 10, seed=1)
    with pytest.raises(UserError) as too_small:
        check_image_size("alexnet", (28, 28, 3))
    shown = {layer_table(layer_rows(lenet)), output_size_table(), str(too_small.value)}
    assert {block.strip() for block in blocks(TUTORIAL, "")} == shown


def test_the_recipes_for_adding_work() -> None:
    """The rows are put where the page says, and used."""
    import keras
    import numpy as np

    from cnn.models import registry
    from cnn.models.blocks import ImageTooSmallError
    from cnn.optim import optimizers, schedules

    file, network_row, optimizer_row, schedule = blocks(ADDING, "python")
    family: dict[str, Any] = {}
    exec(file, family)
    (row,) = eval(f"{{{network_row}}}", vars(registry)).values()
    side = row.smallest_image
    assert family["build"]((side, side, 1), 5, **row.options, dropout=row.dropout).output_shape == (None, 5)
    with pytest.raises(ImageTooSmallError):
        family["build"]((side - 1, side, 1), 5, **row.options, dropout=row.dropout)

    (row,) = eval(f"{{{optimizer_row}}}", vars(optimizers)).values()
    assert issubclass(getattr(keras.optimizers, row.class_name), keras.optimizers.Optimizer)

    names = dict(vars(schedules))
    exec(schedule, names)
    factors = names["_squared"](schedules.ScheduleSettings(warmup_epochs=1), np.array([0.0, 1.0, 2.0, 3.0]), 3.0)
    assert factors.tolist() == [1, 1, 0.25, 0]
