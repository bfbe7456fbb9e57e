"""The settings and outcomes of runs, for TensorBoard's HPARAMS tab.

A run's own events hold its settings. TensorBoard finds out which of them differ between the runs that it shows. After a
sweep, a further file in each of its runs names the columns, and has rows for the runs that could not begin.
"""

import dataclasses
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn.shown_text import on_one_line
from cnn.whole_file import write_whole

BEST_ACCURACY = "accuracy/best"
"""The tag of the best accuracy on the validation part so far: the tab shows a curve's last value."""

_METRICS = {"accuracy/test": "test accuracy", BEST_ACCURACY: "best validation accuracy"}
"""Column headings by tag."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Session:
    """A run, in the tab's terms."""

    folder: Path
    settings: Mapping[str, Any]
    done: bool
    """Whether the run was completed."""


def session_start(settings: Mapping[str, Any]) -> Any:
    """The value of an event by which a run becomes a row of the tab. Settings that are None have an empty cell."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    start = SessionStartInfo()
    for name, value in settings.items():
        if value is not None:
            kind, plain = _typed(value)
            setattr(start.hparams[name], kind, plain)
    return _value("SESSION_START_INFO_TAG", HParamsPluginData(session_start_info=start))


def session_end(*, done: bool) -> Any:
    """The value of an event that tells how a run ended."""
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    status = api_pb2.STATUS_SUCCESS if done else api_pb2.STATUS_FAILURE
    return _value("SESSION_END_INFO_TAG", HParamsPluginData(session_end_info=SessionEndInfo(status=status)))


def write_hyperparameters(sessions: Sequence[Session]) -> None:
    """Writes, or replaces, the file in each run folder that makes the runs comparable: only what differs is a column.

    TensorBoard takes the metrics from each run's scalars. Raises OSError when a folder cannot be written.
    """
    experiment = _experiment(sessions)
    for session in sessions:
        values = [experiment, session_start(session.settings), session_end(done=session.done)]
        write_whole(session.folder / "events.out.tfevents.hparams", _records(values))


def _experiment(sessions: Sequence[Session]) -> Any:
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    names = dict.fromkeys(name for session in sessions for name in session.settings)
    columns = {name: [session.settings.get(name) for session in sessions] for name in names}
    differing = {name: values for name, values in columns.items() if len(set(map(repr, values))) > 1}
    experiment = api_pb2.Experiment(
        hparam_infos=[_description(name, values) for name, values in (differing or columns).items()],
        metric_infos=[
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=heading)
            for tag, heading in _METRICS.items()
        ],
    )
    return _value("EXPERIMENT_TAG", HParamsPluginData(experiment=experiment))


def _typed(value: Any) -> tuple[str, Any]:
    """The name of a value's field in a protobuf, and the value as it is stored there."""
    if isinstance(value, bool):
        return "bool_value", value
    return ("number_value", value) if isinstance(value, int | float) else ("string_value", on_one_line(str(value)))


def _description(name: str, values: Sequence[Any]) -> Any:
    from tensorboard.plugins.hparams import api_pb2

    types = {
        "string_value": api_pb2.DATA_TYPE_STRING,
        "bool_value": api_pb2.DATA_TYPE_BOOL,
        "number_value": api_pb2.DATA_TYPE_FLOAT64,
    }
    typed = [_typed(value) for value in values if value is not None]
    kinds = {kind for kind, _ in typed}
    kind = kinds.pop() if len(kinds) == 1 else "string_value"
    info = api_pb2.HParamInfo(name=name, type=types[kind], differs=len(set(map(repr, values))) > 1)
    plain = {value if kind != "string_value" else str(value) for _, value in typed}
    info.domain_discrete.extend(sorted(plain))
    return info


def _value(tag: str, message: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata

    return Summary.Value(
        tag=getattr(metadata, tag), metadata=metadata.create_summary_metadata(message), tensor=metadata.NULL_TENSOR
    )


def _records(values: Sequence[Any]) -> bytes:
    """Returns the bytes of an event file with these values."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    content, now = io.BytesIO(), time.time()
    writer = RecordWriter(content)
    writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    for value in values:
        writer.write(Event(wall_time=now, summary=Summary(value=[value])).SerializeToString())
    return content.getvalue()
