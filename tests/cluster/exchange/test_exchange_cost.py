"""What each way of exchange costs, and when it is chosen."""

import pytest

from cnn.cluster.exchange.exchange_cost import (
    ExchangeSettings,
    Kernel,
    Overlap,
    Rates,
    allreduce_bytes,
    bucket_bytes,
    choice_table,
    choose_exchange_per_kernel,
    sharded_bytes,
)
from cnn.errors import UserError

FC6 = Kernel(path="fc6/kernel", inputs=9216, outputs=4096)
FC7 = Kernel(path="fc7/kernel", inputs=4096, outputs=4096)
FC8 = Kernel(path="logits/kernel", inputs=4096, outputs=17)
FC6_VGG = Kernel(path="fc6/kernel", inputs=25088, outputs=4096)

NOTHING_HIDDEN = Overlap(hidden_seconds=0.0, core_seconds_per_byte=0.0)
SLOW = Rates(latency=1e-3, sent_per_second=12e6, gathered_per_second=12e6, multiply_adds_per_second=50e9)


def choices(exchange: str = "auto", rates: Rates = SLOW, kernels=(FC6, FC7, FC8), **sizes):
    defaults = {"samples": 32, "world_size": 2, "gradient_bytes": 4, "factor_bytes": 4, "overlap": NOTHING_HIDDEN}
    return choose_exchange_per_kernel(exchange, kernels, rates, **{**defaults, **sizes})


def chosen(*arguments, **sizes: int) -> list[bool]:
    """Whether each kernel's factors are chosen, where sharding is not possible."""
    found = choices(*arguments, possible=("allreduce", "factored"), **sizes)
    return [each.way == "factored" for each in found]


@pytest.mark.parametrize(
    ("kernels", "others", "samples", "workers", "allreduce", "factored"),
    [  # megabytes of AlexNet and VGG16 with 17 classes
        ((FC6, FC7, FC8), 3_747_200 + 8_209, 32, 2, 233, 18),
        ((FC6, FC7, FC8), 3_747_200 + 8_209, 64, 8, 408, 65),
        ((FC6_VGG, FC7, FC8), 14_714_688 + 8_209, 32, 2, 537, 64),
        ((FC6_VGG, FC7, FC8), 14_714_688 + 8_209, 64, 8, 940, 170),
    ],
)
def test_megabytes_sent(kernels, others: int, samples: int, workers: int, allreduce: float, factored: float) -> None:
    rest = allreduce_bytes(others, workers, 4)
    found = choices(kernels=kernels, samples=samples, world_size=workers)
    assert (rest + sum(each.sent_bytes["allreduce"] for each in found)) / 1e6 == pytest.approx(allreduce, abs=0.6)
    fewest = sum(
        min(each.sent_bytes["allreduce"], each.sent_bytes["factored"]) for each in found
    )  # the last kernel is better summed
    assert (rest + fewest) / 1e6 == pytest.approx(factored, abs=0.6)


def test_a_slow_link_chooses_factors() -> None:
    assert chosen() == [True, True, False]  # the last kernel is not worth messages of its own


def test_past_the_break_even_sums_are_chosen() -> None:
    """P * b < 2 m n / (m + n), which is 5,671 for fc6 and 4,096 for fc7; arithmetic and latency are left out."""
    fast = Rates(latency=0, sent_per_second=12e6, gathered_per_second=12e6, multiply_adds_per_second=1e18)
    assert chosen("auto", fast, (FC6, FC7), samples=1700) == [True, True]
    assert chosen("auto", fast, (FC6, FC7), samples=2200) == [True, False]
    assert chosen("auto", fast, (FC6, FC7), samples=3000) == [False, False]


def test_where_arithmetic_is_slow_and_the_link_fast_sums_are_chosen() -> None:
    fast = Rates(latency=1e-5, sent_per_second=1e11, gathered_per_second=1e11, multiply_adds_per_second=1e9)
    assert chosen("auto", fast) == [False, False, False]


def test_short_factors_are_chosen_for_longer() -> None:
    fast = Rates(latency=0, sent_per_second=12e6, gathered_per_second=12e6, multiply_adds_per_second=1e18)
    assert chosen("auto", fast, (FC6,), samples=4000, factor_bytes=4) == [False]
    assert chosen("auto", fast, (FC6,), samples=4000, factor_bytes=2) == [True]


def test_a_setting_overrules_the_measurement() -> None:
    assert chosen("factored") == [True, True, True]
    assert chosen("allreduce") == [False, False, False]
    assert [each.way for each in choices("sharded")] == ["sharded"] * 3
    with pytest.raises(UserError, match="'factor'.*auto, allreduce, factored.*sharded"):
        ExchangeSettings(exchange="factor")


@pytest.mark.parametrize(("rate", "mebibytes"), [(1e3, 0.25), (12e6, 0.5), (120e6, 4), (5e9, 16), (1e12, 16)])
def test_messages_take_a_while_and_no_longer(rate: float, mebibytes: float) -> None:
    assert bucket_bytes(rate) == mebibytes * 2**20


def test_the_table_names_bytes_times_and_choice() -> None:
    lines = choice_table(choices(possible=("allreduce", "factored")), SLOW).splitlines()
    assert lines[0] == "exchange: 12 MB/s in messages of 0.5 MiB, latency 1.0 ms, 100 GFLOP/s"
    assert lines[1].split() == ["MB", "and", "ms", "allreduce", "factored", "sharded", "choice"]
    assert lines[2].split() == ["fc6/kernel", "151.0", "12,583.9", "1.7", "168.2", "2.2", "189.7", "factored"]
    assert lines[4].endswith("allreduce")
    assert max(map(len, lines)) <= 80


FAST = Rates(latency=1e-5, sent_per_second=1e9, gathered_per_second=1e9, multiply_adds_per_second=50e9)


def ways(**arguments) -> list[str]:
    return [each.way for each in choices(**arguments)]


def test_sharding_is_chosen_where_it_is_clearly_faster() -> None:
    """With many workers, factors are more to multiply, and of a high kernel more to send."""
    assert ways() == ["factored", "factored", "allreduce"]
    assert ways(world_size=16) == ["sharded", "factored", "allreduce"]
    assert ways(rates=FAST) == ["sharded", "sharded", "allreduce"]
    assert ways(rates=FAST, possible=("allreduce", "factored")) == ["factored", "factored", "allreduce"]
    assert ways(rates=FAST, samples=1300) == ["sharded", "allreduce", "allreduce"]


def test_what_a_step_hides_speaks_against_sharding_unless_it_takes_the_core() -> None:
    hidden = Overlap(hidden_seconds=10.0, core_seconds_per_byte=0.0)
    assert ways(world_size=16, overlap=hidden) == ["factored", "factored", "allreduce"]
    assert ways(rates=FAST, overlap=hidden) == ["sharded", "sharded", "allreduce"]  # faster than what is multiplied
    assert ways(rates=FAST, samples=1300, overlap=hidden) == ["allreduce", "allreduce", "allreduce"]
    by_core = Overlap(hidden_seconds=10.0, core_seconds_per_byte=1e-9)
    assert ways(rates=FAST, samples=1300, overlap=by_core) == ["sharded", "allreduce", "allreduce"]
    partly = Overlap(hidden_seconds=0.01, core_seconds_per_byte=0.0)
    assert ways(rates=FAST, samples=1300, overlap=partly) == ["sharded", "allreduce", "allreduce"]


def test_what_is_exposed() -> None:
    overlap = Overlap(hidden_seconds=2.0, core_seconds_per_byte=1e-6)
    assert overlap.exposed(3.0, 100_000) == 1.0
    assert overlap.exposed(1.0, 100_000) == pytest.approx(0.1)
    assert overlap.exposed(1.0, 5_000_000) == 1.0  # no more than what was measured


@pytest.mark.parametrize(("inputs", "workers", "rows"), [(10, 2, 5), (10, 3, 4), (2, 3, 1)])
def test_bytes_of_a_sharded_kernel(inputs: int, workers: int, rows: int) -> None:
    """Columns of the inputs and outputs of 7 samples, for each of the others, and the gradients by both."""
    kernel = Kernel(path="kernel", inputs=inputs, outputs=6)
    assert sharded_bytes(kernel, 7, workers, 4) == (workers - 1) * 2 * 7 * (rows + 6) * 4
