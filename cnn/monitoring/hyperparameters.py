"""The settings and outcomes of several runs, for TensorBoard's HPARAMS tab."""

import dataclasses
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn.monitoring.whole_file import write_whole
from cnn.shown_text import on_one_line

_METRICS = {"events/test": "test accuracy", "events/validation": "validation accuracy at the end"}
"""Column headings by the folder in the run folder that holds the scalar `accuracy`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Session:
    """A run, in the tab's terms."""

    folder: Path
    settings: Mapping[str, Any]
    done: bool
    """Whether the run was completed."""


def write_hyperparameters(sessions: Sequence[Session]) -> None:
    """Writes, or replaces, the file in each run folder that makes the run a row of the tab.

    TensorBoard takes the metrics from each run's scalars. Raises OSError when a folder cannot be written.
    """
    # TensorBoard's own protobufs, which load without TensorFlow.
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

    columns = {name: _column([session.settings.get(name) for session in sessions]) for name in _names(sessions)}
    experiment = api_pb2.Experiment(
        hparam_infos=[_description(name, values) for name, values in columns.items()],
        metric_infos=[
            api_pb2.MetricInfo(name=api_pb2.MetricName(group=group, tag="accuracy"), display_name=heading)
            for group, heading in _METRICS.items()
        ],
    )
    for index, session in enumerate(sessions):
        start, end = SessionStartInfo(), SessionEndInfo()
        for name, values in columns.items():
            setattr(start.hparams[name], _field(values), values[index])
        end.status = api_pb2.STATUS_SUCCESS if session.done else api_pb2.STATUS_FAILURE
        content = _records(
            {
                metadata.EXPERIMENT_TAG: HParamsPluginData(experiment=experiment),
                metadata.SESSION_START_INFO_TAG: HParamsPluginData(session_start_info=start),
                metadata.SESSION_END_INFO_TAG: HParamsPluginData(session_end_info=end),
            }
        )
        write_whole(session.folder / "events.out.tfevents.hparams", content)


def _names(sessions: Sequence[Session]) -> list[str]:
    return list(dict.fromkeys(name for session in sessions for name in session.settings))


def _column(values: Sequence[Any]) -> Sequence[Any]:
    """Returns the values as all booleans, all numbers or all texts, as the tab does not accept mixed types."""
    if all(isinstance(value, bool) for value in values):
        return values
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return values
    return ["default" if value is None else on_one_line(str(value)) for value in values]


def _field(values: Sequence[Any]) -> str:
    if isinstance(values[0], str):
        return "string_value"
    return "bool_value" if isinstance(values[0], bool) else "number_value"


def _description(name: str, values: Sequence[Any]) -> Any:
    from tensorboard.plugins.hparams import api_pb2

    types = {
        "string_value": api_pb2.DATA_TYPE_STRING,
        "bool_value": api_pb2.DATA_TYPE_BOOL,
        "number_value": api_pb2.DATA_TYPE_FLOAT64,
    }
    info = api_pb2.HParamInfo(name=name, type=types[_field(values)], differs=len(set(values)) > 1)
    info.domain_discrete.extend(sorted(set(values)))
    return info


def _records(tagged: Mapping[str, Any]) -> bytes:
    """Returns the bytes of an event file with these messages by tag."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata
    from tensorboard.summary.writer.record_writer import RecordWriter

    content, now = io.BytesIO(), time.time()
    writer = RecordWriter(content)
    writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    for tag, message in tagged.items():
        summary_metadata = metadata.create_summary_metadata(message)
        value = Summary.Value(tag=tag, metadata=summary_metadata, tensor=metadata.NULL_TENSOR)
        writer.write(Event(wall_time=now, summary=Summary(value=[value])).SerializeToString())
    return content.getvalue()
