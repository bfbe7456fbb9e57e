"""launch/setup.sh: which Python it takes, and how what was built for one copy of the project serves others."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cnn import surroundings

ROOT = Path(__file__).parents[2]
SAY = 'say() { echo "$*" >&2; }; fail() { say "$*"; exit 1; }; . launch/python.bash; '

WHEEL = """#!/usr/bin/env bash
set -euo pipefail
echo built >>"{counter}"
{meanwhile}
mkdir -p "$3/built/horovod/tensorflow" "$3/built/horovod-0.28.1.dist-info"
touch "$3/built/horovod/__init__.py" "$3/built/horovod/tensorflow/__init__.py"
printf 'Metadata-Version: 2.1\\nName: horovod\\nVersion: 0.28.1\\n' >"$3/built/horovod-0.28.1.dist-info/METADATA"
printf 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n' >"$3/built/horovod-0.28.1.dist-info/WHEEL"
python -m wheel pack --dest-dir "$3" "$3/built"
"""
"""In place of launch/horovod_wheel.sh, which takes minutes: a package of that name without content."""


def program(path: Path, words: str) -> None:
    path.write_text(f"#!/bin/sh\n{words}\n")
    path.chmod(0o755)


def shell(words: str, path: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **variables, "PATH": path}
    return subprocess.run(["bash", "-c", words], cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def test_the_same_pythons_are_right_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["requires-python"]).groups()  # type: ignore[union-attr]
    assert f"(3, {low}) <= sys.version_info < (3, {high})" in (ROOT / "launch/python.bash").read_text()
    assert f"(3, {low}) <= sys.version_info[:2] <= (3, {int(high) - 1})" in Path(surroundings.__file__).read_text()
    assert f"--python-version 3.{low} " in (ROOT / "launch/lock.sh").read_text()


def test_the_first_right_python_on_path_is_taken(tmp_path: Path) -> None:
    for name in ("python3", "python3.13"):
        program(tmp_path / name, "exit 1")
    program(tmp_path / "python3.12", f'exec "{sys.executable}" "$@"')
    done = shell(SAY + 'find_python; echo "$python"', f"{tmp_path}:/usr/bin:/bin")
    assert (done.stdout, done.stderr) == ("python3.12\n", "")


def test_without_a_right_python_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python"):
        program(tmp_path / name, '[ "$1" = --version ] && echo Python 3.9.2 && exit; exit 1')
    program(
        tmp_path / "uv", '[ "$1 $2" = "python install" ] && printf "error: failed\\n  cause: offline\\n" >&2; exit 2'
    )
    done = shell(SAY + "find_python", f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == 1
    assert done.stderr == (
        "no Python 3.11, 3.12 or 3.13 is on PATH (python3 is Python 3.9.2); trying to download Python 3.12 by uv.\n"
        "Python 3.12 could not be downloaded (offline); install Python 3.11, 3.12 or 3.13 and run this "
        "again.\n"
    )


class Copies:
    """Copies of the project, each with an environment of its own, and one cache folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.counter, self.cache = folder, folder / "counter", folder / "cache folder"
        self.counter.touch()

    def make(self, name: str, *, meanwhile: str = "") -> Path:
        copy = self.folder / name
        for each in ("launch", "cnn"):
            shutil.copytree(ROOT / each, copy / each)
        (copy / "launch/horovod_wheel.sh").write_text(WHEEL.format(counter=self.counter, meanwhile=meanwhile))
        venv.create(copy / ".venv", symlinks=True)
        (packages,) = copy.glob(".venv/lib/python3.*/site-packages")
        (real,) = Path(sys.prefix).glob("lib/python3.*/site-packages")
        (packages / "real.pth").write_text(str(real))
        return copy

    def command(self, copy: Path, path: str = "") -> subprocess.Popen[str]:
        environ = {
            **os.environ,
            "PATH": f"{path}{copy}/.venv/bin:{os.environ['PATH']}",
            "UV_PYTHON": f"{copy}/.venv/bin/python",
            "CNN_CACHE_DIR": str(self.cache),
        }
        uv = shutil.which("uv", path=f"{ROOT}/.venv/uv/bin:{os.environ['PATH']}")
        assert uv, "run launch/setup.sh"
        command = ["bash", "launch/horovod.sh", uv, "cpu"]
        return subprocess.Popen(command, cwd=copy, env=environ, stderr=subprocess.PIPE, text=True)

    def install(self, copy: Path, path: str = "") -> str:
        with self.command(copy, path) as process:
            said = process.communicate()[1]
        assert process.returncode == 0, said
        (installed,) = copy.glob(".venv/lib/python3.*/site-packages/horovod/tensorflow/__init__.py")
        assert installed.read_text() == ""
        return said

    @property
    def built(self) -> int:
        return len(self.counter.read_text().splitlines())

    @property
    def kept(self) -> list[Path]:
        return [path for path in (self.cache / "horovod").iterdir() if path.is_dir()]


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    return Copies(tmp_path)


def test_what_one_copy_has_built_is_installed_in_others(copies: Copies) -> None:
    assert "setup: building Horovod" in copies.install(copies.make("a"))
    said = copies.install(copies.make("b c"))
    assert said == f"setup: took Horovod from {copies.kept[0]}, where an earlier set-up has left it.\n"
    assert copies.built == 1


def test_nothing_is_done_again_in_the_same_copy(copies: Copies) -> None:
    copy = copies.make("a")
    copies.install(copy)
    shutil.rmtree(copies.cache)
    assert copies.install(copy) == ""


def damage(wheel: Path) -> None:
    content = bytearray(wheel.read_bytes())
    content[len(content) // 2] ^= 1
    wheel.write_bytes(content)


@pytest.mark.parametrize(
    "harm", [damage, lambda wheel: wheel.write_bytes(b""), Path.unlink], ids=["bit", "empty", "gone"]
)
def test_a_damaged_wheel_is_noticed_and_built_again(copies: Copies, harm: Callable[[Path], object]) -> None:
    copies.install(copies.make("a"))
    (wheel,) = copies.kept[0].glob("*.whl")
    harm(wheel)
    assert f"what was kept in {copies.kept[0]} is damaged or does not load" in copies.install(copies.make("b"))
    assert copies.built == 2
    assert "took Horovod from" in copies.install(copies.make("c"))


def test_another_compiler_builds_its_own(copies: Copies, tmp_path: Path) -> None:
    copies.install(copies.make("a"))
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin/g++", "echo g++ of another system")
    copies.install(copies.make("b"), f"{tmp_path}/bin:")
    assert (copies.built, len(copies.kept)) == (2, 2)


def test_two_at_once_build_once_and_one_says_that_it_waits(copies: Copies, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    first, second = (copies.make(name, meanwhile=f"timeout 60 cat {tmp_path}/go") for name in "ab")
    with copies.command(first) as slow:
        assert slow.stderr
        assert slow.stderr.readline().startswith("setup: building Horovod")
        waiting = copies.command(second)
        assert waiting.stderr
        assert waiting.stderr.readline() == "setup: another set-up is building Horovod; waiting for it.\n"
        (tmp_path / "go").write_text("")
        with ThreadPoolExecutor() as pool:
            said = list(pool.map(lambda process: process.communicate()[1], (slow, waiting)))
    assert (slow.returncode, waiting.returncode) == (0, 0), said
    assert "took Horovod from" in said[1]
    assert copies.built == 1


def test_a_build_that_fails_leaves_nothing(copies: Copies) -> None:
    with copies.command(copies.make("a", meanwhile="echo no such header >&2; exit 1")) as process:
        assert process.stderr
        said = process.stderr.read()
    assert process.returncode == 1
    assert "no such header\nsetup: Horovod did not build; the complete output is in .venv/horovod-build.log." in said
    assert copies.kept == []


def test_where_nothing_can_be_kept_it_is_built_all_the_same(copies: Copies) -> None:
    copies.cache.write_text("not a folder")
    assert "Horovod was built in" in copies.install(copies.make("a"))
