"""What is printed reaches its reader, or is told to be lost; it never ends up in another file."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FULL = "standard output could not be written (No space left on device)"


def python(program: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.run([sys.executable, "-c", program], env=environment, check=False, **options)


def in_shell(words: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", words, "bash", sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, **options)


def test_names_that_cannot_be_encoded_are_printed() -> None:
    program = r"from cnn.output import wrap_output; wrap_output(); print('caf\udce9', 'gr\u00f6\u00dfe')"
    done = python(program, capture_output=True, env={"PYTHONIOENCODING": "ascii"})
    assert done.stdout == b"caf\\udce9 gr\\xf6\\xdfe\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_nothing_is_printed_into_a_file_that_takes_a_closed_ones_place(tmp_path: Path, closed: str) -> None:
    file = tmp_path / "file"
    program = (
        "import cnn, os, subprocess, sys; file = open(sys.argv[1], 'w'); print('out'); print('err', file=sys.stderr);"
        "os.write(1, b'out'); os.write(2, b'err');"
        "subprocess.run([sys.executable, '-c', 'import os; os.write(1, b\"x\"); os.write(2, b\"x\")'], check=True)"
    )
    done = in_shell(f'"$1" -c "$2" "$3" {closed}', program, file, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done
    assert file.read_text() == ""


@pytest.mark.parametrize("arguments", [("--model", "lenet5"), ("--help",)])
def test_a_full_disk_under_standard_output_is_told(arguments: tuple[str, ...]) -> None:
    done = in_shell('"$@" >/dev/full', "jobs/summarize.py", *arguments)
    assert (done.returncode, done.stderr) == (1, f"error: {FULL}: free disk space, or make it writable.\n")


def test_a_mistake_has_its_code_where_nobody_can_be_told() -> None:
    for output in ("/dev/full", "&-"):
        assert in_shell(f'"$@" 2>{output}', "jobs/summarize.py", "--model", "lenet55").returncode == 2


def test_an_output_that_does_not_wait_gets_all() -> None:
    """As other programs of the same terminal leave it."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
    program = "from cnn.output import wrap_output; wrap_output(); print('x' * 1_000_000, flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ROOT}
    ) as process:
        os.close(writer)
        with open(reader, "rb") as output:
            assert len(output.read()) == 1_000_001
        assert process.wait() == 0, process.stderr.read()


@pytest.mark.parametrize("given", [{"PYTHONUTF8": "0", "LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}, {}])
def test_texts_and_names_are_utf_8_in_every_locale(given: dict[str, str]) -> None:
    program = (
        "import sys; from cnn.errors import report_errors\n"
        "with report_errors(): print(ascii(sys.argv[1]), open(0).encoding.lower())"
    )
    done = in_shell(
        '"$1" -c "$2" "$3"', program, "\u00fc", env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **given}
    )
    assert done.stdout == "'\\xfc' utf-8\n", done
