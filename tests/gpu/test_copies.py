"""What a training step copies between host and GPU, seen on a GPU that is only imagined."""

import pytest

from .copies import Copies, measure_apart

pytestmark = pytest.mark.gpu_build

STEPS = 10
BYTES = 64 << 10
"""More than the indices, labels and times of a step; less than its images, or the outputs of its last layer."""

SIDES = {"lenet5": 32, "alexnet": 64, "resnet50": 64}


@pytest.fixture(scope="module", params=SIDES)
def copies(request: pytest.FixtureRequest) -> dict[str, Copies]:
    """Of a network's steps, with images on the device and with images that are read as they are needed."""
    case = f"{request.param}:float32:32:side={SIDES[request.param]}"
    resident, streamed = measure_apart([case, f"{case}:streamed"], STEPS)
    return {"resident": resident, "streamed": streamed}


def test_resident_images_are_not_copied(copies: dict[str, Copies]) -> None:
    found = copies["resident"]
    assert found.images > BYTES * STEPS
    assert sum(found.to_device) < BYTES * STEPS, found.described


def test_streamed_images_are_copied_once(copies: dict[str, Copies]) -> None:
    found = copies["streamed"]
    assert sum(found.to_device) < BYTES * STEPS + found.images, found.described


@pytest.mark.parametrize("images", ["resident", "streamed"])
def test_results_alone_are_copied_to_the_host(copies: dict[str, Copies], images: str) -> None:
    found = copies[images]
    assert sum(found.to_host) <= found.results, found.described
