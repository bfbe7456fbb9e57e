"""What hosts must have for their ranks; tests/cluster_hosts asks real ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.cluster.host_check import Devices, _read_devices, check_devices, devices_here, gpus_for_ranks
from cnn.cluster.hosts import Host
from cnn.errors import UserError
from tests.hostile import read_or_sentence


def found(cores: int, gpus: int) -> Devices:
    return Devices(cores=cores, gpus=gpus, interfaces=("lo",))


@pytest.mark.parametrize(
    ("slots", "devices", "device", "oversubscribe"),
    [
        (4, found(4, 0), None, False),
        (5, found(4, 0), None, True),
        (2, found(4, 2), None, False),
        (2, found(4, 2), "gpu", False),
        (4, found(4, 2), "cpu", False),
        (3, found(4, 2), "gpu", True),
    ],
)
def test_hosts_that_will_do(slots: int, devices: Devices, device: str | None, oversubscribe: bool) -> None:
    check_devices(Host(name="a", slots=slots), devices, device, oversubscribe=oversubscribe)


@pytest.mark.parametrize(
    ("slots", "devices", "device", "said"),
    [
        (
            5,
            found(4, 0),
            None,
            "the host a has 4 cores, fewer than its 5 ranks: give it 4, or let them share by --over",
        ),
        (2, found(1, 0), None, "the host a has 1 core, fewer"),
        (3, found(8, 2), None, "the host a has 2 GPUs, fewer than its 3 ranks"),
        (9, found(8, 2), "cpu", "the host a has 8 cores, fewer"),
        (1, found(8, 0), "gpu", "the host a has no GPU: leave out that host, or --device gpu."),
    ],
)
def test_hosts_with_too_little(slots: int, devices: Devices, device: str | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_devices(Host(name="a", slots=slots), devices, device, oversubscribe=False)


def test_no_gpu_is_not_shared_either() -> None:
    with pytest.raises(UserError, match="has no GPU"):
        check_devices(Host(name="a", slots=1), found(8, 0), "gpu", oversubscribe=True)


def test_this_machine() -> None:
    here = devices_here()
    assert here.cores >= 1
    assert "lo" in here.interfaces


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
        (3, {"CUDA_VISIBLE_DEVICES": ""}, []),
        (0, {"CUDA_VISIBLE_DEVICES": "0"}, []),
    ],
)
def test_gpus_for_ranks(gpus: int, environment: dict[str, str], names: list[str]) -> None:
    assert gpus_for_ranks(gpus, environment) == names
