"""The programs that measure a GPU, on a processor and as small as can be: they build and step what they measure."""

import math
from collections.abc import Iterator

import pytest
import tensorflow as tf

from cnn.cluster.ranks.collectives import Cluster
from cnn.learner.precision import use_precision

from ..noise import one_worker
from . import gpu_ops, profile_step, sanity, speed
from .cases import parse_case


@pytest.fixture
def worker() -> Iterator[Cluster]:
    yield one_worker()
    use_precision("float32")


def test_speed(worker: Cluster) -> None:
    result = speed.measure(worker, "fcnn:mixed_bfloat16:4:side=8", max_steps=2)
    assert result["images_per_second"] > 0
    assert math.isfinite(result["loss"])
    assert "fcnn:mixed_bfloat16:4:side=8" in speed.described(result)


@pytest.mark.parametrize("words", ["fcnn:float32:4:xal", "fcnn:float32:4:pixels=3", "fcnn:float32:some"])
def test_a_case_that_is_none(words: str) -> None:
    with pytest.raises(ValueError, match="xal|pixels|some"):
        parse_case(words)


def test_profile(worker: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    result = profile_step.profile(worker, "fcnn:float32:4:side=8", steps=2)
    assert result["ms_per_step"] > 0
    profile_step.show(result)
    assert capsys.readouterr().out.startswith("fcnn:float32:4:side=8: ")


def test_a_gpu_is_busy_while_one_of_its_streams_is() -> None:
    spans = [(0, 10), (5, 3), (8, 4), (20, 5)]
    events = [profile_step.Event("gemm", profile_step.kind_of("gemm"), 100 + start, length) for start, length in spans]
    assert profile_step.busy_share(events) == pytest.approx(17 / 25)
    assert events[0].kind == "matrix product"


def test_operations_agree_with_themselves() -> None:
    rows = [sanity.compare_hash("CPU:0"), sanity.compare_local_response_normalisation("CPU:0")]
    for name, function, shapes in sanity.operations():
        small = [
            tuple(min(side, 16) if place < len(shape) - 2 else side for place, side in enumerate(shape))
            for shape in shapes
        ]
        rows.append(sanity.compare(name, function, small, "float32", "CPU:0"))
    assert [row for row in rows if not row["holds"]] == []
    assert all(rate > 0 for rate in sanity.product_rates(64).values())


def test_another_result_does_not_agree() -> None:
    calls = []

    def wrong(values: tf.Tensor) -> list[tf.Tensor]:
        calls.append(values)
        return [values + 0.1 * len(calls)]  # compiled twice, for float64 and for float32

    row = sanity.compare("wrong", wrong, [(8,)], "float32", "CPU:0")
    assert not row["holds"]
    assert not sanity.row("nothing", "float32", math.nan, 1.0)["holds"]


def test_operations_of_a_step(worker: Cluster) -> None:
    kinds = [kind for kind in gpu_ops.SETTINGS_KINDS if "random" in kind.settings][:1]
    found = gpu_ops.look_at(worker, kinds)
    assert found.everything["Conv2D [T=float32]"] == {str(kinds[0])}
    gpus = bool(tf.sysconfig.get_build_info().get("is_cuda_build"))
    assert ("Conv2D [T=float32]" in found.no_kernel) == (not gpus)
