"""Pictures for TensorBoard: grids of images with captions, filters, and confusion matrices.

They are drawn by Pillow in milliseconds; matplotlib would take up to a second of training at each epoch's end.
"""

import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cnn.shown_text import on_one_line

_SIDE = 100
"""Pixels of the longer side of an image in a grid."""

_SMALL = 84
"""Images of fewer pixels a side are enlarged, so that they can be seen."""

_LINE = 14
"""Pixels of a line of a caption."""

_CELL, _MIN_CELL = 26, 2
_MAX_SIDE = 800
"""Pixels of a confusion matrix."""

_MAX_LABELLED_CLASSES = 40
"""Maximum number of classes for which a confusion matrix shows names and counts."""

_MAX_NAME = 16
"""Characters of a class name beside a confusion matrix."""

_BLUE = np.array([8, 48, 107])
_FONT = ImageFont.load_default(12)


class Picture(NamedTuple):
    """A picture, encoded."""

    png: bytes
    width: int
    height: int


def image_grid(images: np.ndarray, captions: Sequence[str]) -> Picture:
    """A grid of images with captions.

    Args:
        images: uint8 (images, height, width, channels), with one channel or three.
        captions: for each image, lines of text.
    """
    height, width = images.shape[1:3]
    scale = _SIDE / max(height, width)
    if scale > 1:
        scale = max(1, round(_SMALL / max(height, width)))
    tile = round(width * scale), round(height * scale)
    lines = max(caption.count("\n") + 1 for caption in captions)
    cell = max(tile[0], _SIDE) + 4, tile[1] + _LINE * lines + 6
    columns = math.ceil(math.sqrt(len(images)))
    canvas = Image.new("RGB", (columns * cell[0], math.ceil(len(images) / columns) * cell[1]), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
        x, y = cell[0] * (number % columns) + 2, cell[1] * (number // columns) + 2
        canvas.paste(_scaled(image, tile), (x, y))
        for line, text in enumerate(caption.split("\n")):
            draw.text((x, y + tile[1] + _LINE * line), _fitting(text, cell[0] - 4), "black", _FONT)
    return _encoded(canvas)


def filter_grid(kernel: np.ndarray, max_filters: int = 256) -> Picture:
    """The filters of a convolution of an image, each scaled to the full range of grey or colour.

    Args:
        kernel: floating (height, width, channels, filters), with one channel or three.
        max_filters: maximum number of filters; later ones are left out.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        filters = kernel.astype(np.float32).transpose(3, 0, 1, 2)[:max_filters]
        low, high = (extreme(filters, axis=(1, 2, 3), keepdims=True) for extreme in (np.min, np.max))
        scaled = np.nan_to_num((filters - low) / (high - low), posinf=0, neginf=0)
    size = max(1, round(40 / kernel.shape[0]))
    enlarged = np.kron(np.uint8(255 * scaled), np.ones((1, size, size, 1), np.uint8))
    framed = np.pad(enlarged, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
    columns = math.ceil(math.sqrt(len(framed)))
    rows = math.ceil(len(framed) / columns)
    missing = rows * columns - len(framed)
    framed = np.pad(framed, ((0, missing), (0, 0), (0, 0), (0, 0)), constant_values=255)
    height, width, channels = framed.shape[1:]
    grid = framed.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    return _encoded(_image(grid.reshape(rows * height, columns * width, channels)))


def confusion_picture(names: Sequence[str], confusion: np.ndarray) -> Picture:
    """A confusion matrix, coloured by each count's share of its row: a row for each true class.

    Args:
        names: the classes' names.
        confusion: int (classes, classes).
    """
    classes = len(names)
    cell = max(_MIN_CELL, min(_CELL, _MAX_SIDE // classes))
    shares = np.sqrt(confusion / np.maximum(confusion.sum(1, keepdims=True), 1))[..., np.newaxis]  # shows low shares
    cells = np.uint8(255 - shares * (255 - _BLUE))
    matrix = _image(np.kron(cells, np.ones((cell, cell, 1), np.uint8)))
    if classes > _MAX_LABELLED_CLASSES:
        return _encoded(matrix)
    shown = [_shortened(name) for name in names]
    margin = round(max(_FONT.getlength(name) for name in (*shown, "true class"))) + 8
    canvas = Image.new("RGB", (margin + matrix.width + 2, margin + _LINE + matrix.height + 2), "white")
    canvas.paste(matrix, (margin, margin + _LINE))
    draw = ImageDraw.Draw(canvas)
    draw.text((margin, 0), "predicted class", "grey", _FONT)
    draw.text((2, margin), "true class", "grey", _FONT)
    for number, name in enumerate(shown):
        middle = cell * number + cell // 2
        draw.text((margin - 4, margin + _LINE + middle), name, "black", _FONT, anchor="rm")
        _draw_upright(canvas, name, margin + middle, margin + _LINE - 4)
    for row, column in zip(*np.nonzero(confusion), strict=True):
        colour = "white" if shares[row, column, 0] > 0.6 else "black"
        position = margin + cell * column + cell // 2, margin + _LINE + cell * row + cell // 2
        draw.text(position, _count(int(confusion[row, column])), colour, _FONT, anchor="mm")
    return _encoded(canvas)


def _draw_upright(canvas: Image.Image, text: str, middle: int, bottom: int) -> None:
    length = round(_FONT.getlength(text)) + 1
    upright = Image.new("L", (length, _LINE))
    ImageDraw.Draw(upright).text((0, _LINE // 2), text, 255, _FONT, anchor="lm")
    upright = upright.rotate(90, expand=True)
    canvas.paste("black", (middle - _LINE // 2, bottom - length), upright)


def _count(number: int) -> str:
    """A count in at most four characters."""
    return str(number) if number < 10_000 else f"{number // 1000}k"


def _shortened(name: str) -> str:
    name = on_one_line(name)
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"


def _fitting(text: str, width: int) -> str:
    """The beginning of a text, as much of it as fits into so many pixels."""
    text = on_one_line(text)
    shown = text
    while shown and _FONT.getlength(shown if shown == text else f"{shown}…") > width:
        shown = shown[:-1]
    return shown if shown == text else f"{shown}…"


def _scaled(image: np.ndarray, size: tuple[int, int]) -> Image.Image:
    larger = size[0] > image.shape[1]
    return _image(image).resize(size, Image.Resampling.NEAREST if larger else Image.Resampling.BILINEAR)


def _image(pixels: np.ndarray) -> Image.Image:
    """A picture of pixels with one channel or three."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")


def _encoded(image: Image.Image) -> Picture:
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=1)
    return Picture(content.getvalue(), *image.size)
