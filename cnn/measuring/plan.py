"""What a training run will need, computed in one process for any number of workers; nothing is trained."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cnn.choices import momentary
from cnn.cluster.exchange.exchange_cost import Rates
from cnn.cluster.launchers.process import Launch
from cnn.errors import UserError
from cnn.from_json import read_object
from cnn.measuring.benchmark import DEFAULT_LATENCY, layers_of, peak_rate
from cnn.measuring.step_prediction import Costs, parse_rate, predict
from cnn.runs.run_folder import room_for_checkpoints
from cnn.settings.settings import TrainingSettings
from cnn.shown_text import counted, on_one_line

if TYPE_CHECKING:
    from cnn.learner.learner import Learner
    from cnn.learner.step_memory import StepMemory
    from cnn.runs.start import Start


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """A plan before the start."""

    plan: bool | int = momentary(False)
    """Print what the run will need with this number of workers (1 if no number is given), and train nothing."""

    link: str = momentary("25gbit")
    """Rate of the workers' links that --plan assumes, for example 100mbit or 25gbit."""

    def __post_init__(self) -> None:
        parse_rate(self.link)
        if self.plan is not True and self.plan is not False and self.plan < 1:
            raise UserError(f"--plan {self.plan} is not a number of workers: give 1 or more, for example --plan 8.")

    @property
    def workers(self) -> int:
        """The number of workers to plan for; 0 for none."""
        return int(self.plan)


def check_alone(launch: Launch) -> None:
    """Raises UserError in a job of several processes, of which a plan needs none."""
    if launch.world_size > 1:
        raise UserError(
            f"--plan computes for any number of workers in one process: start it without a launcher, and write "
            f"--plan {launch.world_size} for this number."
        )


def describe_plan(settings: TrainingSettings, plan: PlanSettings) -> str:
    """Computes a plan; needs the memory of the network and its optimizer, and of the data set.

    Args:
        settings: the run's settings.
        plan: the number of workers, and the link between them.

    Raises:
        UserError: the run could not start with these settings.
    """
    from cnn.cluster.ranks.planned_cluster import PlannedCluster
    from cnn.data.split import divide_training_part
    from cnn.learner.assembly import assemble, build_model, make_order
    from cnn.learner.state import state_bytes
    from cnn.runs.checked_data import open_training_data
    from cnn.runs.resumption import check_data, check_length
    from cnn.runs.start import planned_start

    cluster, run = PlannedCluster(plan.workers), settings.run
    start = planned_start(settings)
    settings = start.settings
    dataset = open_training_data(cluster, settings, start.division)
    check_data(cluster, start, dataset)
    training, _ = divide_training_part(dataset, run.validation_fraction, run.seed)
    model = build_model(settings.learner, dataset)
    order = make_order(cluster, settings.learner, model, training, run.global_batch_size)
    total_steps = check_length(cluster, start, run, order.steps_per_epoch)
    operations = peak_rate(cluster, settings.step.precision)
    exchange, rates_known = _rates(start, plan, operations)
    learner = assemble(cluster, settings.learner, dataset, order, model, exchange)
    shares = sorted(set(order.shares(plan.workers)))
    checkpoint, sent = state_bytes(learner.variables), learner.exchange.sent_bytes
    memory = learner.predict_memory(learner.make_step(timed=plan.workers > 1), plan.workers)
    images = min(run.global_batch_size, len(training))
    lines = [
        f"plan for {settings.model.model} on {on_one_line(dataset.name)} with {counted(plan.workers, 'worker')}; "
        "nothing is trained",
        f"{'steps':<22} {total_steps:,}: {total_steps / order.steps_per_epoch:.4g} epochs of {order.steps_per_epoch:,}",
        f"{'batch':<22} {images:,} images a step, {' to '.join(map(str, shares))} per worker",
        *_memory_lines(memory),
        *_exchange_lines(learner, sent, total_steps, rates_known),
        f"{'checkpoint':<22} {_megabytes(checkpoint)}",
        f"{'disk':<22} {_megabytes(room_for_checkpoints(checkpoint))} at most for the run folder's checkpoints",
        _time_line(learner, plan, operations, total_steps),
        *_unknown_lines(learner, settings, plan.workers),
        *_measured_lines(start),
    ]
    return "\n".join(lines)


def _rates(start: "Start", plan: PlanSettings, operations: float) -> tuple[dict[str, Any], bool]:
    """The rates by which the exchange is chosen, and whether the run in the folder measured them."""
    if start.exchange is not None and start.exchange.get("world_size") == plan.workers and "rates" in start.exchange:
        return start.exchange, True
    link = parse_rate(plan.link)
    latency = max(1, 2 * (plan.workers - 1)) * DEFAULT_LATENCY / 1e6
    rates = Rates(
        latency=latency, sent_per_second=link, gathered_per_second=link, multiply_adds_per_second=operations / 2
    )
    return {"world_size": plan.workers, "rates": dataclasses.asdict(rates)}, False


def _memory_lines(memory: "StepMemory") -> list[str]:
    kinds = {
        "weights": memory.weights,
        "optimizer": memory.optimizer,
        "gradients, exchange": memory.gradients,
        "activations": memory.activations,
        "images": memory.images,
        "unused parts": memory.unused,
    }
    return [
        f"{'memory of each device':<22} {_megabytes(memory.total)} while a step runs, of which",
        *(f"  {name:<20} {_megabytes(size)}" for name, size in kinds.items()),
    ]


def _exchange_lines(learner: "Learner", sent: int, total_steps: int, rates_known: bool) -> list[str]:
    if not sent:
        return [f"{'exchange':<22} none: one worker sends nothing"]
    factored, sharded = learner.exchange.record["factored"], list(learner.sharded)
    parts = [
        *([f"factors of {', '.join(factored)}"] if factored else []),
        *([f"rows of {', '.join(sharded)} divided among the workers"] if sharded else []),
        "sums of all other gradients" if factored or sharded else "sums of all gradients",
    ]
    choice = "; ".join(parts)
    basis = " (by the rates that the run has measured)" if rates_known else ""
    return [
        f"{'sent by each worker':<22} {_megabytes(sent)} a step, {_megabytes(sent * total_steps)} in all",
        f"{'exchange':<22} {choice}{basis}",
    ]


def _time_line(learner: "Learner", plan: PlanSettings, operations: float, total_steps: int) -> str:
    from cnn.learner.exchange_selection import element_bytes

    samples, layers = learner.order.width(plan.workers), layers_of(learner.model)
    arithmetic = 6 * samples * sum(layer.multiply_adds for layer in layers) / operations
    costs = Costs(
        compute_seconds=arithmetic,
        update_seconds=0.0,
        latency=DEFAULT_LATENCY / 1e6,
        link_rate=parse_rate(plan.link),
        host_seconds_per_byte=0.0,
        multiply_adds_per_second=operations / 2,
    )
    exchange, possible = learner.settings.exchange.exchange, learner.settings.possible_ways
    gradient_bytes, factor_bytes = element_bytes(learner.model, learner.settings.exchange)
    seconds = predict(
        layers,
        costs,
        samples=samples,
        workers=plan.workers,
        gradient_bytes=gradient_bytes,
        factor_bytes=factor_bytes,
        exchange=exchange,
        possible=possible,
    ).step_seconds
    link = f" and with links of {plan.link}" if plan.workers > 1 else ""
    return (
        f"{'time':<22} at least {_seconds(seconds)} a step, {_seconds(seconds * total_steps)} in all, at the "
        f"{operations / 1e9:,.0f} GFLOP/s of one large product here{link}"
    )


def _unknown_lines(learner: "Learner", settings: TrainingSettings, workers: int) -> list[str]:
    unknown = [
        "the real time of a step: convolutions, small layers, the input and other programs take longer than one large "
        "product; jobs/benchmark.py measures it",
        "memory of the process besides: Python, the libraries and, on rank 0, a copy of the state that is being saved",
        "scratch memory of single operations (cuDNN, oneDNN), and the order of operations that run at the same time",
    ]
    if settings.step.reproducible:
        unknown.append("memory of the partial sums of groups, and of groups that threads compute at the same time")
    elif workers > 1 and learner.settings.exchange.exchange == "auto":
        unknown.append("the choice of the exchange, which the run makes by what it measures; --exchange fixes it")
    if settings.step.xla:
        unknown.append("activations with --xla, which compiles the network into one operation")
    if not learner.feed.resident_bytes:
        unknown.append("the images that are read ahead, at most 256 MB")
    if settings.run.patience is not None:
        unknown.append(f"whether --patience {settings.run.patience} ends the run earlier")
    return ["not known before the start:", *(f"  - {each}" for each in unknown)]


def _measured_lines(start: "Start") -> list[str]:
    """What the finished run in the folder needed, beside its prediction."""
    summary = start.folder / "summary.json"
    recorded: Mapping[str, Any] = read_object(summary) if start.how == "resumed" and summary.is_file() else {}
    predicted, measured = recorded.get("predicted"), recorded.get("measured")
    if not isinstance(predicted, dict) or not isinstance(measured, dict):
        return []
    lines = [
        f"{start.folder} with {counted(recorded['world_size'], 'worker')}:",
        f"  {'':<20} {'predicted':>14} {'measured':>14}",
    ]
    for name, value in predicted.items():
        pair = (f"{number:>14,}" if isinstance(number, int) else f"{'?':>14}" for number in (value, measured.get(name)))
        lines.append(f"  {name:<20} {' '.join(pair)}")
    return lines


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 10**6 else f"{size / 1e3:,.1f} kB"


def _seconds(seconds: float) -> str:
    from cnn.duration import duration

    return duration(seconds) if seconds >= 1 else f"{1e3 * seconds:,.3g} ms"
