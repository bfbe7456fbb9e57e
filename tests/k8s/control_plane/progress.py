"""How far the training of a namespace is, and what it has saved."""

from cnn.monitoring.records.metrics import read_metrics
from cnn.runs.checkpoints import Checkpoint, CheckpointFolder
from tests.k8s.docker_pods import read_json
from tests.k8s.rendering import Manifest

from .cluster import Namespace


def await_step(space: Namespace, *, after: int, job: str = "train") -> None:
    """Until a step later than this one is in the metrics; AssertionError if the Job fails before."""
    path = space.runs / "train" / "metrics.jsonl"

    def trained() -> bool:
        assert "Failed" not in _conditions(space, job), space.said()
        return path.exists() and any(record["step"] > after for record in read_metrics(path))

    space.wait_for(f"a step after {after}", trained)


def await_end(space: Namespace, job: str = "train") -> None:
    """Until a Job is complete; AssertionError if it fails."""

    def ended() -> bool:
        conditions = _conditions(space, job)
        assert "Failed" not in conditions, space.said()
        return "Complete" in conditions

    space.wait_for(f"complete: {job}", ended)


def _conditions(space: Namespace, job: str) -> set[str]:
    return {each["type"] for each in space.get("job", job)["status"].get("conditions", []) if each["status"] == "True"}


def hosts(space: Namespace) -> list[str]:
    """The pods that ranks are on."""
    return sorted(read_json(space.runs / "train" / "environment.json")["topology"]["hosts"])


def summary(space: Namespace, run: str = "train") -> Manifest:
    """The results of a run that is complete."""
    return read_json(space.runs / run / "summary.json")


def last_checkpoint(space: Namespace, run: str = "train") -> Checkpoint:
    """The last checkpoint of a run, which is not damaged."""
    checkpoint, damage = CheckpointFolder(space.runs / run / "checkpoints").load_last()
    assert checkpoint is not None
    assert not damage
    return checkpoint


def saved_step(space: Namespace) -> int:
    """The step that is saved, which is no earlier than any that was reported: none was lost."""
    saved = CheckpointFolder(space.runs / "train" / "checkpoints").steps()[-1]
    assert saved >= max(record["step"] for record in read_metrics(space.runs / "train" / "metrics.jsonl"))
    return saved
