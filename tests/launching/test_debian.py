"""README's first commands on a bare Debian, in a project folder whose path has a space."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
CERTIFICATES = Path("usr/local/share/ca-certificates")
PACKAGES = "git,python3-pip,g++,make,ca-certificates"
"""What README asks for."""

ENTER = """
mount --bind /dev "$1/dev" && mount -t proc proc "$1/proc" && mount -t tmpfs shm "$1/dev/shm" || exit 99
exec env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$1" bash -euc "$2"
"""
NOISE = re.compile(r"oneDNN|cpu_feature_guard|rebuild TensorFlow|computation_placer|WARNING")


class Debian:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, words: str) -> str:
        command = ["unshare", "--mount", "--propagation", "private", "bash", "-c", ENTER, "bash", self.folder, words]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0, done.stdout
        print(done.stdout)
        return done.stdout


@pytest.fixture(params=["bookworm", "trixie"])
def debian(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Debian]:
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("this needs root's rights and debootstrap (Debian: apt install debootstrap)")
    root = tmp_path / "root"
    make = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", request.param, root]
    subprocess.run(make, stdout=subprocess.DEVNULL, check=True)
    if ("/" / CERTIFICATES).is_dir():  # those that this machine trusts
        shutil.copytree("/" / CERTIFICATES, root / CERTIFICATES, dirs_exist_ok=True)
    for name in ("resolv.conf", "hosts"):
        shutil.copy(Path("/etc", name), root / "etc" / name)
    for name in ("my project", "second"):
        subprocess.run(["git", "clone", "--quiet", ROOT, root / "root" / name], check=True)
    yield Debian(root)
    shutil.rmtree(root)  # 4 GB


def test_it_trains_is_tested_and_is_set_up_again_in_seconds(debian: Debian) -> None:
    debian.run("update-ca-certificates; git config --global --add safe.directory '*'")
    said = debian.run('cd "/root/my project"; bash launch/quickstart.sh --epochs 10')
    assert re.search(r"3\d\d of 359 test images right", said), said
    assert not NOISE.search(said), said
    assert " passed" in debian.run('cd "/root/my project"; bash launch/test.sh tests/test_duration.py')
    said = debian.run("cd /root/second; bash launch/setup.sh & bash launch/setup.sh; wait $!")
    assert "took Horovod from" in said
    assert "another set-up is running here; waiting for it." in said
    assert said.count("the environment in .venv is ready.") == 2
