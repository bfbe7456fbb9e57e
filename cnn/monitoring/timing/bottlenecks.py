"""What limits a run's speed, from the times of its steps: a sentence for each cause, with what to change."""

import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cnn.shown_text import counted

_INPUT_SHARE, _EXCHANGE_SHARE, _OVERHEAD_SHARE = 0.1, 0.2, 0.5
"""Shares of a step from which the input, the exposed exchange, or all that is not computing is worth a sentence."""

_SLOW_RATIO, _SLOW_SECONDS, _SLOW_SHARE = 1.2, 0.005, 0.1
"""A rank is slow if its time exceeds the others' median by this factor, and by this many seconds in a usual step, or in
the mean over many steps by this share of a step."""

_LATENCY_SECONDS, _FAST_LINK = 0.01, 1e9
"""An exchange that takes longer than this, besides its bytes at this rate per second, is slow because of the link."""


_BYTES_PER_WEIGHT = 24
"""Bytes that a step reads and writes for each weight, however many samples it has: in the forward pass, for the input's
gradient, for the weight's, and for its update."""

_MULTIPLY_ADDS_PER_BYTE = 4
"""Multiply-adds that a processor does while it reads a byte of memory, at the least; a GPU does more than ten."""


class StepTimes(NamedTuple):
    """One rank's times of a training step in seconds: means, to which interruptions count, and medians."""

    total: float
    """From one step's start to the next one's; the same on every rank, but for noise."""

    input: float
    """Waiting for images."""

    loss: float
    """Computing the loss, which is a part of `computing`; 0 if not measured."""

    computing: float
    """Computing the gradients of this rank's samples, while their exchange has begun; 0 if not measured."""

    exchange: float
    """Waiting for the rest of the exchange, and for slower ranks; 0 if not measured."""

    usual_loss: float
    """Median of `loss`."""

    usual_exchange: float
    """Median of `exchange`, to which other ranks' interruptions do not count."""

    @property
    def rest(self) -> float:
        """Updating the weights, calls and whatever else is not measured."""
        return max(0.0, self.total - self.input - self.computing - self.exchange)

    @property
    def parts(self) -> dict[str, float]:
        """The parts that were measured, by name; together the whole step."""
        measured = {"computing": self.computing, "exchange": self.exchange}
        return {"input": self.input, **{name: value for name, value in measured.items() if value}, "rest": self.rest}


class Circumstances(NamedTuple):
    """What the causes and remedies depend on."""

    hosts: Sequence[str]
    """The name of each rank's host."""

    samples: int
    """Samples per rank per step."""

    weights: int
    """Number of the network's weights."""

    multiply_adds: int
    """Of the network's forward pass for one sample."""

    sent_bytes: int
    """Bytes that each rank sends per step."""

    streamed_mb: int
    """Megabytes of images that are read from the disk as needed; 0 if they are in memory."""

    decodes_jpeg: bool
    """Whether these are stored as JPEG."""

    spare_mb: int
    """Megabytes of memory for each rank that are free."""

    can_compress: bool
    """Whether `--compression float16` would send fewer bytes."""

    can_factor: bool
    """Whether `--exchange auto` might exchange fully connected layers as factors, which is not done."""


class Bottleneck(NamedTuple):
    """A cause of slow steps."""

    cause: str
    sentence: str


def bottlenecks(ranks: Sequence[StepTimes], run: Circumstances) -> list[Bottleneck]:
    """The causes of slow steps, the most important one first.

    Args:
        ranks: the times of each rank.
        run: what they depend on.
    """
    found = [*_input(ranks, run), *(slow_rank(ranks, run) or _interrupted_rank(ranks, run)), *_exchange(ranks, run)]
    found += _weights(len(ranks), run)
    return found or list(_overhead(ranks, run))


def _input(ranks: Sequence[StepTimes], run: Circumstances) -> Iterator[Bottleneck]:
    rank = max(range(len(ranks)), key=lambda each: ranks[each].input)
    times = ranks[rank]
    if times.input < _INPUT_SHARE * times.total or not run.streamed_mb:
        return
    which = "" if len(ranks) == 1 else f" of rank {rank} (on {run.hosts[rank]})"
    if run.streamed_mb < run.spare_mb:
        action = f"keep the images in memory: --resident_mb {run.streamed_mb}"
    elif run.decodes_jpeg:
        action = "give each worker more cores, store the pixels (--store raw), or choose a smaller --image_size"
    else:
        action = "keep the prepared images ($CNN_CACHE_DIR) on a faster disk, or choose a smaller --image_size"
    yield Bottleneck(
        "input",
        f"input is the limit: a step{which} waits {_share(times.input, times)} for images from the disk; {action}.",
    )


def slow_rank(ranks: Sequence[StepTimes], run: Circumstances) -> list[Bottleneck]:
    """The slowest rank, if it computes a usual step so much more slowly than the others that all wait for it."""
    return _slowest([times.usual_loss for times in ranks], run, _SLOW_SECONDS)


def _interrupted_rank(ranks: Sequence[StepTimes], run: Circumstances) -> list[Bottleneck]:
    """As `slow_rank`, if it is slow because it is interrupted now and then: other programs, a limit of its cores."""
    return _slowest([times.loss for times in ranks], run, _SLOW_SHARE * ranks[0].total)


def _slowest(losses: Sequence[float], run: Circumstances, least: float) -> list[Bottleneck]:
    """The rank that takes longest for the loss, if that is `least` seconds longer than the others' median."""
    if len(losses) < 2:
        return []
    slowest = max(range(len(losses)), key=lambda rank: losses[rank])
    seconds = losses[slowest]
    others = statistics.median(each for rank, each in enumerate(losses) if rank != slowest)
    if seconds <= _SLOW_RATIO * others or seconds - others <= least:
        return []
    sentence = (
        f"rank {slowest} (on {run.hosts[slowest]}) is slow: it computes a batch's loss in {seconds:.3g} s, the others "
        f"in {others:.3g} s. All wait for it; jobs/doctor.py may find the reason."
    )
    return [Bottleneck("slow rank", sentence)]


def _exchange(ranks: Sequence[StepTimes], run: Circumstances) -> Iterator[Bottleneck]:
    # The rank that waits least for the exchange waits for no other rank.
    times = min(ranks, key=lambda each: each.usual_exchange)
    seconds = times.usual_exchange
    by_link = seconds > _LATENCY_SECONDS + run.sent_bytes / _FAST_LINK
    if seconds < _EXCHANGE_SHARE * times.total or not by_link:
        return
    actions = ["a larger --global_batch_size exchanges as much less often"]
    if run.can_factor:
        actions.append("--exchange auto would send fully connected layers as factors where that is cheaper")
    if run.can_compress:
        actions.append("--compression float16 sends fewer bytes, but is not exact")
    if len(set(run.hosts)) > 1:
        actions.append("jobs/doctor.py measures the links")
    yield Bottleneck(
        "exchange",
        f"the exchange of gradients is the limit: a step waits {_share(seconds, times)} for it, in which each "
        f"worker sends {run.sent_bytes / 1e6:,.3g} MB; {'; '.join(actions)}.",
    )


def _weights(workers: int, run: Circumstances) -> Iterator[Bottleneck]:
    """A batch so small that computing with the weights takes less time than moving them between memory and processor.

    This is counted, not measured: the time of a step does not show why computing takes it.
    """
    # The gradients by the inputs and by the weights take a forward pass's arithmetic each.
    arithmetic = 3 * run.samples * run.multiply_adds
    if arithmetic >= _MULTIPLY_ADDS_PER_BYTE * _BYTES_PER_WEIGHT * run.weights:
        return
    yield _small_batch(
        workers,
        f"for {counted(run.samples, 'sample')} per worker, a step reads and writes each of the "
        f"{run.weights / 1e6:,.3g} million weights, which takes longer than the arithmetic with them",
    )


def _overhead(ranks: Sequence[StepTimes], run: Circumstances) -> Iterator[Bottleneck]:
    times = max(ranks, key=lambda each: each.computing)
    if not times.computing or times.total - times.computing < _OVERHEAD_SHARE * times.total:
        return
    yield _small_batch(
        len(ranks),
        f"a step spends only {_share(times.computing, times)} on computing its "
        f"{counted(run.samples, 'sample')} per worker",
    )


def _small_batch(workers: int, reason: str) -> Bottleneck:
    fewer = " or fewer workers compute" if workers > 1 else " computes"
    sentence = f"the batch is small: {reason}; a larger --global_batch_size{fewer} more in the same time."
    return Bottleneck("batch", sentence)


def _share(seconds: float, times: StepTimes) -> str:
    share = 100 * seconds / times.total
    return f"{_milliseconds(seconds)} of {_milliseconds(times.total)} ms ({share:.0f} %)"


def _milliseconds(seconds: float) -> str:
    milliseconds = 1000 * seconds
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"
