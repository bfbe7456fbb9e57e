"""Lines as JSON: what they say, and that each line of a program is one."""

import datetime
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cnn.json_lines import json_line

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("line", "level"),
    [("error: no: data", "error"), ("warning: slow", "warning"), ("step 1/2", "info"), ("errors: none", "info")],
)
def test_a_line_says_when_where_and_how_bad_it_is(line: str, level: str) -> None:
    found = json.loads(json_line(line, "info", {"OMPI_COMM_WORLD_RANK": "3"}))
    assert datetime.datetime.fromisoformat(found.pop("time")).tzinfo == datetime.UTC
    assert found == {"level": level, "host": socket.gethostname(), "rank": 3, "message": line}


@pytest.mark.parametrize("environ", [{}, {"HOROVOD_RANK": "x"}])
def test_a_process_without_a_rank_names_none(environ: dict[str, str]) -> None:
    assert "rank" not in json.loads(json_line("x", "info", environ))


@pytest.mark.parametrize("prefix", ["", "[0]<stdout>:", "[1,0]<stderr>:", "[0]<stdout>:[12]<stdout>:"])
def test_a_rank_s_object_loses_its_launcher_s_prefix(prefix: str) -> None:
    line = json_line("step 1/2", "info", {"HOROVOD_RANK": "0"})
    assert json_line(f"{prefix}{line}", "warning", {}) == line


@pytest.mark.parametrize("line", ["[0]<stdout>:step 1", "{not JSON}", "[0]<stdout>:{1: 2}", "[1, 2]", "{" * 100_000])
def test_anything_else_is_a_message(line: str) -> None:
    assert json.loads(json_line(line, "info", {}))["message"] == line


def test_each_line_of_a_program_is_an_object() -> None:
    program = (
        "import sys; from cnn.errors import report_errors, UserError\n"
        "with report_errors():\n"
        "    print('a', end=''); print('b\\x1b[31m\\n\\ngr\\u00f6\\u00dfe'); print('unasked', file=sys.stderr)\n"
        "    raise UserError('no such model.')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CNN_LOG_FORMAT": "json", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    out, err = ([json.loads(line) for line in text.splitlines()] for text in (done.stdout, done.stderr))
    assert [(each["level"], each["message"]) for each in out] == [("info", "ab\x1b[31m"), ("info", "größe")]
    assert [each["level"] for each in err] == ["warning", "error"]
    assert err[1]["message"] == "error: no such model."
