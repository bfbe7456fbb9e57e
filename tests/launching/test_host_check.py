"""What hosts must have for their ranks; tests/cluster_hosts asks real ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.cluster.hosts.hosts import Host
from cnn.errors import UserError
from cnn.launching.host_check import (
    Devices,
    _read_devices,
    check_devices,
    check_interfaces,
    check_path,
    devices_here,
    gpus_for_ranks,
)
from tests.hostile import read_or_sentence


def found(cores: int, gpus: int) -> Devices:
    return Devices(cores=cores, gpus=gpus, interfaces=("lo",))


@pytest.mark.parametrize(
    ("slots", "devices", "environment", "oversubscribe"),
    [
        (4, found(4, 0), {}, False),
        (5, found(4, 0), {}, True),
        (2, found(4, 2), {}, False),
        (2, found(4, 2), {"CNN_DEVICE": "gpu"}, False),
        (4, found(4, 2), {"CNN_DEVICE": "cpu"}, False),
        (3, found(4, 2), {"CNN_DEVICE": "gpu"}, True),
        (2, found(1, 8), {"CUDA_VISIBLE_DEVICES": "4,5"}, False),
        (4, found(4, 8), {"CUDA_VISIBLE_DEVICES": ""}, False),
    ],
)
def test_hosts_that_will_do(slots: int, devices: Devices, environment: dict[str, str], oversubscribe: bool) -> None:
    check_devices(Host(name="a", slots=slots), devices, environment, oversubscribe=oversubscribe)


@pytest.mark.parametrize(
    ("slots", "devices", "environment", "said"),
    [
        (
            5,
            found(4, 0),
            {},
            "the host a has 4 cores, fewer than its 5 ranks: start at most 4 there, or let ranks share",
        ),
        (2, found(1, 0), {}, "the host a has 1 core, fewer"),
        (3, found(8, 2), {}, "the host a has 2 GPUs, fewer than its 3 ranks"),
        (9, found(8, 2), {"CNN_DEVICE": "cpu"}, "the host a has 8 cores, fewer"),
        (1, found(8, 0), {"CNN_DEVICE": "gpu"}, "the host a has no GPU: leave out that host, or --device gpu."),
        (
            8,
            found(8, 8),
            {"CUDA_VISIBLE_DEVICES": "0,1"},
            "the host a has 2 GPUs of CUDA_VISIBLE_DEVICES '0,1', fewer than its 8 ranks: start at most 2",
        ),
        (5, found(4, 8), {"CUDA_VISIBLE_DEVICES": ""}, "the host a has 4 cores, fewer than its 5 ranks"),
        (
            1,
            found(4, 8),
            {"CNN_DEVICE": "gpu", "CUDA_VISIBLE_DEVICES": "8"},
            "the host a has no GPU of CUDA_VISIBLE_DEVICES '8': leave out that host",
        ),
    ],
)
def test_hosts_with_too_little(slots: int, devices: Devices, environment: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_devices(Host(name="a", slots=slots), devices, environment, oversubscribe=False)


def test_no_gpu_is_not_shared_either() -> None:
    with pytest.raises(UserError, match="has no GPU"):
        check_devices(Host(name="a", slots=1), found(8, 0), {"CNN_DEVICE": "gpu"}, oversubscribe=True)


def test_this_machine() -> None:
    here = devices_here()
    assert here.cores >= 1
    assert here.interfaces is not None and "lo" in here.interfaces


@pytest.mark.parametrize(
    ("answer", "interfaces"),
    [("welcome\n2\n1\neth0 lo\n", ("eth0", "lo")), ("\n2\n1\n\n", ()), ("\n2\n1\n?\n", None)],
)
def test_interfaces_in_an_answer(answer: str, interfaces: tuple[str, ...] | None) -> None:
    assert _read_devices(answer, "a") == Devices(cores=2, gpus=1, interfaces=interfaces)


def test_a_host_without_network_or_without_the_chosen_interface() -> None:
    host = Host(name="a", slots=1)
    check_interfaces(host, ("eth0", "lo"), "eth0")
    check_interfaces(host, None, "eth0")
    with pytest.raises(UserError, match="the host a has no network interface .* run `ip link set lo up` there"):
        check_interfaces(host, (), None)
    with pytest.raises(UserError, match="--interface ib0 has no IPv4 address on the host a: choose one of eth0, lo."):
        check_interfaces(host, ("eth0", "lo"), "ib0")


@given(st.text(st.sampled_from("01 x-\n\udcff\u0663"), max_size=20) | st.text(max_size=9))
def test_any_answer_of_a_host_tells_its_devices_or_is_one_sentence(answer: str) -> None:
    found = read_or_sentence(lambda: _read_devices(answer, "node7"), "the host node7 ")
    assert found is None or isinstance(found.cores + found.gpus, int)


@pytest.mark.parametrize(
    ("gpus", "environment", "names"),
    [
        (3, {}, ["0", "1", "2"]),
        (3, {"CNN_DEVICE": "cpu"}, []),
        (3, {"CNN_DEVICE": "gpu", "CUDA_VISIBLE_DEVICES": "2,GPU-4af"}, ["2", "GPU-4af"]),
        (3, {"CUDA_VISIBLE_DEVICES": "1,-1,2"}, ["1"]),
        (2, {"CUDA_VISIBLE_DEVICES": "0, 1,2,3"}, ["0", "1"]),
        (3, {"CUDA_VISIBLE_DEVICES": ""}, []),
        (0, {"CUDA_VISIBLE_DEVICES": "0"}, []),
    ],
)
def test_gpus_for_ranks(gpus: int, environment: dict[str, str], names: list[str]) -> None:
    assert gpus_for_ranks(gpus, environment) == names


def test_a_path_with_a_space_is_for_this_machine_alone() -> None:
    here, other = Host(name="localhost", slots=1), Host(name="node2", slots=1)
    check_path([here, other], "/a/project/.venv")
    check_path([here], "/a/my project/.venv")
    with pytest.raises(
        UserError, match=r"'/a/my project/.venv' has a space, .* another host \(node2\): move it, on every"
    ):
        check_path([here, other], "/a/my project/.venv")
