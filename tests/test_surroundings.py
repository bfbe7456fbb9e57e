"""Programs that are started in the wrong way, or where they cannot work, say how to do it."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted(ROOT.glob("jobs/*.py"))


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One in which nothing is installed."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    return folder / "bin" / "python"


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_another_python_is_told_the_right_one(bare_python: Path, program: Path) -> None:
    done = subprocess.run([bare_python, program], capture_output=True, text=True, env={}, check=False)
    assert done.returncode == 2, done
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"error: {bare_python} (Python ")
    assert f"start it with {ROOT / '.venv/bin/python'}, or `source {ROOT / '.venv/bin/activate'}`" in done.stderr


def test_what_comes_before_the_sentence_can_be_read_by_old_pythons() -> None:
    import ast

    for path in (*PROGRAMS, ROOT / "cnn/__init__.py", ROOT / "cnn/surroundings.py"):
        ast.parse(path.read_text(), feature_version=(3, 7))


def test_a_program_is_found_through_a_link_without_being_installed(tmp_path: Path) -> None:
    link = tmp_path / "a link.py"
    link.symlink_to(ROOT / "jobs/summarize.py")
    command = [sys.executable, link, "--model", "lenet5", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={}, check=False)
    assert done.returncode == 0, done


def test_a_folder_that_has_been_deleted_is_told(tmp_path: Path) -> None:
    words = 'mkdir gone; cd gone; rmdir ../gone; exec "$@"'
    command = ["bash", "-c", words, "bash", sys.executable, ROOT / "jobs/summarize.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2, done
    assert done.stderr.startswith("error: the current folder cannot be used any more (No such file")


@pytest.mark.parametrize("variables", [{"HOME": "/nowhere"}, {"HOME": ""}, {"TMPDIR": "/nowhere"}, {"TERM": "dumb"}])
def test_little_of_the_environment_is_needed(variables: dict[str, str]) -> None:
    command = [sys.executable, ROOT / "jobs/summarize.py", "--model", "lenet5"]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    assert done.returncode == 0, done
    assert done.stderr == ""


def copied_scripts(folder: Path) -> Path:
    """The project without its environment, at another path."""
    folder.mkdir(parents=True)
    for name in ("launch", "jobs", "cnn"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True)
    for name in ("pyproject.toml", "requirements.lock", "requirements-gpu.lock"):
        shutil.copy(ROOT / name, folder)
    return folder


SCRIPTS = sorted(path.name for path in (ROOT / "launch").glob("*.s[hb]*"))


def test_every_script_helps_where_nothing_is_set_up(tmp_path: Path) -> None:
    copy = copied_scripts(tmp_path / "a copy")
    (tmp_path / "link").symlink_to(copy)
    for script in SCRIPTS:
        for option in ("--help", "-h"):
            command = ["bash", tmp_path / "link" / "launch" / script, option]
            done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
            assert (done.returncode, done.stderr) == (0, ""), (script, done)
            assert len(done.stdout) > 100
    assert not (copy / ".venv").exists()


@pytest.mark.parametrize(("script", "code"), [("setup.sh", 2), ("lock.sh", 2), ("mpirun.sh", 2), ("elastic.sh", 2)])
def test_an_unknown_option_is_refused_before_anything_is_done(tmp_path: Path, script: str, code: int) -> None:
    copy = copied_scripts(tmp_path / "copy")
    command = ["bash", copy / "launch" / script, "--nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done
    assert len(done.stderr.splitlines()) == 1
    assert not (copy / ".venv").exists()


@pytest.mark.parametrize("name", ["a:b", "a\nb", "$HOME", 'a"b', "a`b", "a\\b"])
def test_a_path_in_which_nothing_can_be_installed_is_refused_at_once(tmp_path: Path, name: str) -> None:
    copy = copied_scripts(tmp_path / name)
    done = subprocess.run(["bash", "launch/setup.sh"], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("setup: the project's folder may not have : ")
    assert not (copy / ".venv").exists()


def test_a_script_whose_outputs_are_closed_has_its_exit_code(tmp_path: Path) -> None:
    copy = copied_scripts(tmp_path / "copy")
    words = f'bash "{copy}/launch/mpirun.sh" --help <&- >&- 2>&-'
    assert subprocess.run(["bash", "-c", words], check=False, env=dict(os.environ)).returncode == 0
