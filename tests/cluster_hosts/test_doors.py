"""What a host that is no part of a job reaches of it."""

from pathlib import Path

import pytest

from .hosts import NAMES, PYTHON, Hosts

pytestmark = pytest.mark.cluster

ATTACK = """
import base64, os, pickle, socket, sys

class Trap:
    def __reduce__(self):
        return os.mkdir, (sys.argv[1],)

trap = pickle.dumps(Trap())
body = base64.b64encode(trap)
put = b"PUT /worker_addresses/node1:0 HTTP/1.1\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body)
for place in sys.argv[2:]:
    host, port = place.rsplit(":", 1)
    for message in (put, bytes(32) + len(trap).to_bytes(4, "little") + trap, b"GET /global/0 HTTP/1.1\\r\\n\\r\\n"):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            try:
                connection.sendall(message)
                connection.shutdown(socket.SHUT_WR)
                print(connection.recv(1000))
            except OSError:
                print(b"")
"""


def doors(hosts: Hosts, name: str) -> list[str]:
    """Where programs of a host listen, ssh's server left out: ADDRESS:PORT."""
    lines = hosts.run("ss", "-ltnH", on=name).output.splitlines()
    return [place for line in lines if not (place := line.split()[3]).endswith(":22")]


@pytest.mark.parametrize("launcher", ["elastic", "horovodrun"])
def test_over_gloo_nothing_that_a_stranger_sends_is_answered(hosts: Hosts, tmp_path: Path, launcher: str) -> None:
    run, attack, script = tmp_path / "run", tmp_path / "attack.py", tmp_path / "hosts of mine.sh"
    attack.write_text(ATTACK)
    script.write_text(f"#!/bin/sh\necho {NAMES[0]}:1\necho {NAMES[1]}:1\n")
    script.chmod(0o755)
    start: tuple[object, ...] = ("launch/elastic.sh", script)
    if launcher == "horovodrun":
        start = ("launch/horovodrun.sh", "-H", f"{NAMES[0]}:1,{NAMES[1]}:1")
    settings = ("--model", "fcnn", "--data", "digits", "--steps", 10_000_000, "--save_every", 100, "--run_dir", run)
    job = hosts.start("bash", *start, "--", *settings)
    job.wait_for(lambda: any(run.glob("checkpoints/step-*")))
    found = doors(hosts, NAMES[0])
    assert found and all(place.startswith("10.77.0.1:") for place in found), found
    assert not doors(hosts, NAMES[1])  # ranks that have found each other
    answers = hosts.run(PYTHON, attack, tmp_path / "trap", *found, on=NAMES[2])
    assert answers.code == 0 and set(answers.output.split()) == {"b''"}, answers.output
    points = (run / "metrics.jsonl").stat().st_size
    job.wait_for(lambda: (run / "metrics.jsonl").stat().st_size > points)
    hosts[NAMES[0]].call("pkill", "-USR1", "--full", "^[^ ]*python jobs/train.py")
    ended = job.end()
    assert "which is saved; resume with `" in ended.output
    assert "Traceback" not in ended.output
    assert not (tmp_path / "trap").exists()
