"""The values of TensorBoard's events: one for each kind that a plugin reads, made with TensorBoard's protobufs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cnn.shown_text import on_one_line


def scalar(tag: str, value: float) -> Any:
    """A point of a curve."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary.Value(tag=tag, simple_value=float(value))


def text(tag: str, markdown: str) -> Any:
    """A text."""
    from tensorboard.plugins.text.metadata import create_summary_metadata

    return _tensor(tag, create_summary_metadata("", ""), markdown.encode())


def picture(tag: str, png: bytes, width: int, height: int) -> Any:
    """A picture."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=png)
    return Summary.Value(tag=tag, image=image)


def histogram(tag: str, counts: np.ndarray, edges: np.ndarray) -> Any:
    """A histogram.

    Args:
        tag: its tag.
        counts: (bins,).
        edges: (bins + 1,), ascending.
    """
    from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary

    found = HistogramProto(min=edges[0], max=edges[-1], num=counts.sum(), bucket_limit=edges[1:], bucket=counts)
    return Summary.Value(tag=tag, histo=found)


def charts(categories: Mapping[str, Mapping[str, Sequence[str]]]) -> Any:
    """The layout of the CUSTOM SCALARS tab: by category and title of a chart, the tags of its curves."""
    from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MultilineChartContent
    from tensorboard.plugins.custom_scalar.metadata import CONFIG_SUMMARY_TAG, create_summary_metadata

    layout = Layout(
        category=[
            Category(
                title=category,
                chart=[
                    Chart(title=title, multiline=MultilineChartContent(tag=[f"^{tag}$" for tag in tags]))
                    for title, tags in by_title.items()
                ],
            )
            for category, by_title in categories.items()
        ]
    )
    return _tensor(CONFIG_SUMMARY_TAG, create_summary_metadata(), layout.SerializeToString())


def graph(nodes: Iterable[tuple[str, str, Sequence[str], Sequence[int]]]) -> bytes:
    """A graph, for `EventWriter.graph`.

    Args:
        nodes: for each node its name, its type, the names of its inputs and the shape of its output.
    """
    from tensorboard.compat.proto.attr_value_pb2 import AttrValue
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from tensorboard.compat.proto.node_def_pb2 import NodeDef
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

    def shape(sizes: Sequence[int]) -> Any:
        dimensions = [TensorShapeProto.Dim(size=size) for size in (-1, *sizes)]  # -1: any number of images
        return AttrValue(list=AttrValue.ListValue(shape=[TensorShapeProto(dim=dimensions)]))

    found = GraphDef(
        node=[
            NodeDef(name=name, op=kind, input=inputs, attr={"_output_shapes": shape(sizes)})
            for name, kind, inputs, sizes in nodes
        ]
    )
    content: bytes = found.SerializeToString()
    return content


def table(heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown, for `text`."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: Any) -> str:
    return on_one_line(str(value)).replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


def _tensor(tag: str, metadata: Any, content: bytes) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    return Summary.Value(tag=tag, metadata=metadata, tensor=TensorProto(dtype=DT_STRING, string_val=[content]))
