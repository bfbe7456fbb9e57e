"""What goes wrong when a job is started on several hosts: each is told in one sentence, and nothing waits for ever."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from .hosts import CHANGED, GONE, REFUSED, ROOT, STRANGER, Hosts
from .other_installations import other_code, other_data, other_version

pytestmark = pytest.mark.cluster


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mistake:
    arguments: tuple[object, ...]
    """Of launch/mpirun.sh, or of another script that is named first."""

    said: str
    """A part of the sentence."""

    code: int = 2
    meanwhile: Callable[[], AbstractContextManager[object]] = nullcontext
    """What is so as long as it runs."""

    by_a_rank: bool = False
    """Whether it is the ranks who find it, in which case the launcher has something to say, too."""


def unreachable(host: str, reason: str) -> Mistake:
    return Mistake(arguments=("-H", f"node1:1,{host}:1"), said=f"the host {host} is unreachable ({reason}", code=1)


def mistakes(hosts: Hosts, scratch: Path) -> dict[str, Mistake]:
    two, run = ("-H", "node1:1,node2:1"), ("--run_dir", scratch / "run", "--steps", 1)
    empty, bad, folder = scratch / "empty", scratch / "bad", scratch / "folder"
    empty.write_text("# none yet\n")
    bad.write_text("node1 slots=1\nnode2 slots=one\n")
    folder.mkdir()
    runs = scratch / "runs"
    runs.mkdir()
    data = scratch / "data"
    data.mkdir()
    images = ("--data", "folder", "--data_dir", data / "images", "--image_size", 16, "--model", "fcnn")
    return {
        "unreachable host": unreachable(GONE, "ssh: connect to host gone port 22: No route to host"),
        "unknown host": unreachable("nowhere", "ssh: Could not resolve hostname nowhere: "),
        "ssh refused": unreachable(REFUSED, "ssh: connect to host refused port 22: Connection refused"),
        "wrong key": unreachable(STRANGER, "root@node2: Permission denied (publickey"),
        "changed host key": unreachable(CHANGED, "Host key verification failed"),
        "host lacks the folder": Mistake(
            arguments=two,
            said=f"the host node2 lacks {ROOT}/.venv/bin/python or the folder {ROOT}: put this folder there",
            code=1,
            meanwhile=lambda: hosts["node2"].sees(folder, ROOT),
        ),
        "host is not set up": Mistake(
            arguments=two,
            said=f"the host node2 lacks {ROOT}/.venv/bin/python or",
            code=1,
            meanwhile=lambda: hosts["node2"].sees(folder, ROOT / ".venv" / "bin"),
        ),
        "other code": Mistake(
            arguments=(*two, "--", *run),
            said="rank 1 (on node2) differs from rank 0: code of cnn is ",
            meanwhile=lambda: other_code(hosts["node2"], scratch),
            by_a_rank=True,
        ),
        "another version": Mistake(
            arguments=(*two, "--", *run),
            said="rank 1 (on node2) differs from rank 0: numpy is 2.3.9 instead of ",
            meanwhile=lambda: other_version(hosts["node2"], scratch),
            by_a_rank=True,
        ),
        "other data": Mistake(
            arguments=(*two, "--", *images, *run),
            said="rank 1 (on node2)",
            meanwhile=lambda: other_data(hosts, "node2", data),
            by_a_rank=True,
        ),
        "more slots than cores": Mistake(
            arguments=("-H", "node1:1,node2:1000"), said="fewer than its 1000 ranks: start at most "
        ),
        "-np more than slots": Mistake(arguments=(*two, "-np", 3), said="-np 3 exceeds the 2 ranks of node1:1,node2:1"),
        "empty hostfile": Mistake(arguments=("--hostfile", empty), said=f"the hostfile {empty} names no host"),
        "malformed hostfile": Mistake(arguments=("--hostfile", bad), said=f"'one' in line 2 of the hostfile {bad}"),
        "shell characters": Mistake(arguments=("-H", "node1:1,$(touch /tmp/x):1"), said="'$(touch /tmp/x)' in -H"),
        "unknown interface": Mistake(
            arguments=(*two, "--interface", "ib0"),
            said="--interface ib0 has no IPv4 address on the host node1: choose one of eth0, lo.",
        ),
        "no GPU": Mistake(arguments=(*two, "--device", "gpu"), said="the host node1 has no GPU: "),
        "unknown program": Mistake(
            arguments=(*two, "--program", "jobs/trian.py"), said="--program jobs/trian.py is no"
        ),
        "unknown option": Mistake(arguments=(*two, "--hostfiles", "x"), said="unrecognized arguments: --hostfiles x"),
        "port in use": Mistake(
            arguments=("launch/tensorboard.sh", "--logdir", runs, "--port", 22),
            said="port 22 is in use, perhaps by another",
        ),
    }


@pytest.mark.parametrize("launcher", ["mpirun", "horovodrun"])
def test_launch_mistakes(hosts: Hosts, tmp_path: Path, launcher: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines, wrong = [], []
    for name, mistake in mistakes(hosts, tmp_path).items():
        script = () if "launch/" in str(mistake.arguments[0]) else (f"launch/{launcher}.sh",)
        with mistake.meanwhile():
            ended = hosts.run("bash", *script, *mistake.arguments)
        told = [line for line in ended.output.splitlines() if "error: " in line and mistake.said in line]
        alone = mistake.by_a_rank or ended.output.count("\n") == 1
        if len(told) != 1 or not alone or ended.code != mistake.code or "Traceback" in ended.output:
            wrong.append(
                f"{name}: exit code {ended.code}, wanted {mistake.code} and '{mistake.said}' in\n{ended.output}"
            )
        sentence = told[0].partition("error: ")[2] if told else "?"
        lines.append(f"| {name} | {sentence} | {ended.code} | {ended.seconds:.1f} |")
    with capsys.disabled():
        print(
            "\n".join(
                ["", f"| launch/{launcher}.sh | sentence | exit code | seconds |", "| --- | --- | --- | ---: |", *lines]
            )
        )
    assert not wrong, "\n".join(wrong)
    assert not (tmp_path / "run").exists()  # a refused run leaves nothing
