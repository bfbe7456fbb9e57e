"""The commands that launchers are started with, by the scripts that users call."""

import itertools
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from cnn.launching.host_check import Devices
from cnn.launching.launcher import count_workers, forwarded

ROOT = Path(__file__).parents[2]


def start(launcher: str, *arguments: str, **environment: str) -> tuple[int, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CNN_", "HOROVOD_", "OMPI_"))}
    done = subprocess.run(
        ["bash", f"launch/{launcher}.sh", *arguments],
        cwd=ROOT,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def command(launcher: str, *arguments: str, **environment: str) -> list[str]:
    code, output = start(launcher, "--dry_run", *arguments, **environment)
    assert code == 0, output
    return shlex.split(output)


def options(words: list[str], name: str) -> list[str]:
    return [value for word, value in itertools.pairwise(words) if word == name]


def test_hosts_give_the_number_of_ranks() -> None:
    words = command("mpirun", "-H", "a:4,b:3", "--interface", "lo", "--", "--model", "vgg16")
    assert words[0] == "mpirun"
    assert options(words, "-np") == ["7"]
    assert options(words, "-H") == ["a:4,b:3"]
    assert options(words, "btl_tcp_if_include") == options(words, "oob_tcp_if_include") == ["lo"]
    assert "NCCL_SOCKET_IFNAME" in options(words, "-x")
    assert options(words, "--bind-to") == ["none"]
    assert words[-4:] == [str(ROOT / ".venv/bin/python"), "jobs/train.py", "--model", "vgg16"]
    assert options(words, "--prefix") == [str(ROOT / ".venv")]  # ssh's PATH does not tell where Open MPI is
    words = command("horovodrun", "-H", "a:4,b:3", "-np", "5", "--interface", "lo", "--program", "jobs/prove.py")
    assert words[:4] == ["horovodrun", "--gloo", "-np", "5"]
    assert options(words, "--network-interfaces") == ["lo"]
    assert words[-1] == "jobs/prove.py"


@pytest.mark.parametrize("launcher", ["mpirun", "horovodrun"])
def test_the_program_s_arguments_are_its_own(launcher: str) -> None:
    hostile = ["--run_dir", "a b", "$(reboot)", "--dry_run", "--", "", "-H", "'\"\n;"]
    assert command(launcher, "-np", "2", "--", *hostile)[-len(hostile) :] == hostile


def test_without_hosts_every_core_of_this_machine_has_a_rank() -> None:
    if list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has GPUs, which have ranks instead")
    words = command("mpirun")
    assert options(words, "-np") == [str(len(os.sched_getaffinity(0)))]
    assert "-H" not in words


@pytest.mark.parametrize(
    ("environment", "workers"),
    [
        ({}, 8),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, 2),
        ({"CUDA_VISIBLE_DEVICES": ""}, 4),
        ({"CNN_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": "0,1"}, 4),
    ],
)
def test_every_gpu_that_ranks_may_see_has_one(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], workers: int
) -> None:
    monkeypatch.setattr("cnn.launching.launcher.devices_here", lambda: Devices(cores=4, gpus=8, interfaces=("lo",)))
    assert count_workers(None, None, environment) == workers


@pytest.mark.parametrize("launcher", ["mpirun", "horovodrun"])
def test_a_host_s_domain_is_kept_and_short_names_stay_as_they_are(launcher: str) -> None:
    arguments = (launcher, *(("--controller", "mpi") if launcher == "horovodrun" else ()), "-H")
    kept = "orte_keep_fqdn_hostnames true"
    assert kept in " ".join(command(*arguments, "train-0,train-1.train"))
    assert kept not in " ".join(command(*arguments, "a:2,10.77.0.2"))


def test_the_environment_gives_hosts_too() -> None:
    assert options(command("mpirun", CNN_HOSTS="a:2,b:2"), "-np") == ["4"]
    assert options(command("horovodrun", CNN_HOSTS="a:2,b:2"), "-H") == ["a:2,b:2"]


def test_the_device_is_told_to_the_ranks() -> None:
    words = command("mpirun", "-H", "a:1", "--device", "cpu")
    assert "CNN_DEVICE" in options(words, "-x")


def test_what_is_forwarded() -> None:
    environ = dict.fromkeys(
        (
            "PATH",
            "HOME",
            "CNN_CACHE_DIR",
            "CUDA_VISIBLE_DEVICES",
            "HOROVOD_CYCLE_TIME",
            "HOROVOD_RANK",
            "NCCL_DEBUG",
            "OMPI_MCA_orte_x",
            "LANG",
        ),
        "",
    )
    assert forwarded(environ) == ["CNN_CACHE_DIR", "CUDA_VISIBLE_DEVICES", "HOROVOD_CYCLE_TIME", "NCCL_DEBUG", "PATH"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-np", "0"), "-np 0 is less than 1"),
        (("-H", "a:2", "-np", "3"), "-np 3 exceeds the 2 ranks of a:2"),
        (("-H", "a:2,b:x"), "'x' in -H 'a:2,b:x' is not a number of ranks"),
        (("-H", "a b"), "'a b' in -H 'a b' is not a host name"),
        (("--hostfile", "no/such"), "the hostfile no/such cannot be read"),
        (("--program", "jobs/trian.py"), "--program jobs/trian.py is not a file"),
        (
            ("--interface", "eth99"),
            "--interface eth99 has no IPv4 address on the host localhost:",
        ),
        (("-np", "5000"), "the host localhost has "),  # so many devices, fewer than 5000
        (("--device", "tpu"), "unknown device 'tpu': choose one of gpu, cpu."),
        (("--hostfiles", "x"), "unrecognized arguments: --hostfiles x; --help lists the options."),
        (("-np", "two"), "argument -np/--workers: invalid int value: 'two'; --help lists the options."),
        (("-H", "no-such-host.invalid:2"), "the host no-such-host.invalid is unreachable"),
    ],
)
@pytest.mark.parametrize("launcher", ["mpirun", "horovodrun"])
def test_mistakes_get_one_sentence(launcher: str, arguments: tuple[str, ...], said: str) -> None:
    code, output = start(launcher, *arguments)
    assert code in (1, 2)
    assert output.startswith(f"error: {said}"), output
    assert output.count("\n") == 1
