"""What each way of exchange costs, and when it is chosen."""

import pytest

from cnn.cluster.exchange_cost import (
    ExchangeSettings,
    Kernel,
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

SLOW = Rates(latency=1e-3, sent_per_second=12e6, gathered_per_second=12e6, multiply_adds_per_second=50e9)


def choices(exchange: str = "auto", rates: Rates = SLOW, kernels=(FC6, FC7, FC8), **sizes):
    defaults = {"samples": 32, "world_size": 2, "gradient_bytes": 4, "factor_bytes": 4}
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


def test_sharding_is_chosen_where_its_messages_are_faster_than_the_products_of_factors() -> None:
    assert [each.way for each in choices(world_size=16)] == ["factored", "factored", "allreduce"]
    fast = Rates(latency=1e-5, sent_per_second=1e9, gathered_per_second=1e9, multiply_adds_per_second=50e9)
    assert [each.way for each in choices(rates=fast)] == ["sharded", "sharded", "allreduce"]
    found = choices(rates=fast, possible=("allreduce", "factored"))
    assert [each.way for each in found] == ["factored", "factored", "allreduce"]
    assert [each.way for each in choices(rates=fast, samples=1300)] == ["sharded", "allreduce", "allreduce"]


@pytest.mark.parametrize(("inputs", "workers", "rows"), [(10, 2, 5), (10, 3, 4), (2, 3, 1)])
def test_bytes_of_a_sharded_kernel(inputs: int, workers: int, rows: int) -> None:
    """Columns of the inputs and outputs of 7 samples, for each of the others, and the gradients by both."""
    kernel = Kernel(path="kernel", inputs=inputs, outputs=6)
    assert sharded_bytes(kernel, 7, workers, 4) == (workers - 1) * 2 * 7 * (rows + 6) * 4
