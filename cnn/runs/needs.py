"""What a run needs: as predicted from its settings alone, and as measured."""

import dataclasses

from cnn.cluster.ranks.collectives import Cluster
from cnn.learner.learner import Learner
from cnn.learner.state import state_bytes
from cnn.learner.step import TrainingStep
from cnn.runs.checkpoints import CheckpointFolder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needs:
    """The needs of a run. Bytes are those of one worker, of the one that needs most if they differ."""

    steps: int
    memory_bytes: int | None
    """What TensorFlow's allocator uses at most on the device while steps run; None if it does not count that."""

    sent_bytes: int
    """Bytes sent in a step: predicted from the network's size, measured message by message."""

    checkpoint_bytes: int


def needs_of_run(
    cluster: Cluster, learner: Learner, step: TrainingStep, steps: int, total_steps: int, checkpoints: CheckpointFolder
) -> dict[str, Needs | None]:
    """The needs of a run that has ended, `predicted` and `measured`, on rank 0; every rank calls it.

    Args:
        cluster: the workers.
        learner: what was trained.
        step: the step that was run. If this job has run none, as the run had already ended, nothing is known.
        steps: steps done.
        total_steps: steps requested.
        checkpoints: the run's checkpoints.
    """
    peaks = cluster.gather([step.has_run, step.peak_bytes])
    if not cluster.is_chief or not peaks[0][0]:
        return {"predicted": None, "measured": None}
    counted = [peak for _, peak in peaks if peak is not None]
    return {
        "predicted": Needs(
            steps=total_steps,
            memory_bytes=learner.predict_memory(step, cluster.world_size).total,
            sent_bytes=learner.exchange.sent_bytes,
            checkpoint_bytes=state_bytes(learner.variables),
        ),
        "measured": Needs(
            steps=steps,
            memory_bytes=max(counted) if len(counted) == len(peaks) else None,
            sent_bytes=learner.exchange.exchange.sent_bytes,
            checkpoint_bytes=checkpoints.path(checkpoints.steps()[-1]).stat().st_size,
        ),
    }
