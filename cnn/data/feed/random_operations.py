"""Random operations on training images: RandAugment and TrivialAugment.

RandAugment: Cubuk et al., "RandAugment: practical automated data augmentation with a reduced search space", 2020,
section 3. TrivialAugment: Müller, Hutter, "TrivialAugment: tuning-free yet state-of-the-art data augmentation", 2021,
its wide space of strengths.

A table computed beforehand has a row of parameters for each operation at each strength, and an image's key draws a row.
All images of a batch then go through the same computation, most of which leaves an image as it is. After each operation
pixels are whole numbers in float32, as in 8-bit images, so that an image does not depend on the precision, nor on the
other images of its batch.
"""

import dataclasses
import math
import zlib

import numpy as np

from cnn.keyed_random import uniform_tensor
from cnn.tensor import Tensor

POLICIES = ("none", "randaugment", "trivialaugment")

MAX_MAGNITUDE = 10.0
"""Magnitude of RandAugment at which its operations are strongest."""

_FILL = 128.0
"""Pixels that are moved in from outside the image."""

_STRENGTHS = 30
"""TrivialAugment draws one of these multiples of 1/30, or 0."""

_LEVELS = np.arange(256, dtype=np.float32)
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class _Ranges:
    """How far operations of full strength go."""

    shear: float
    shift: tuple[float, float]
    """Pixels, along x and y."""

    degrees: float
    factor: float
    """By how much the factor of an enhancement differs from 1."""

    bits: int
    """Bits that are dropped from pixels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Row:
    """An operation at one strength, as parameters of the computation that all images go through."""

    transform: tuple[float, ...] = _IDENTITY
    """From a pixel's coordinates in the result to those in the image, as in ImageProjectiveTransformV3."""

    factor: float = 1.0
    """Scales the distance from another image, which is black unless one of the following is 1."""

    from_grey: float = 0.0
    from_mean: float = 0.0
    from_smooth: float = 0.0
    curve: np.ndarray = dataclasses.field(default_factory=lambda: _LEVELS)
    """The new value of each value of a pixel, float32 (256,)."""

    stretches: bool = False
    """Whether a channel's values are stretched to the whole range."""

    equalizes: bool = False
    """Whether a channel's values are made equally frequent."""


class RandomOperations:
    """Applies operations that follow from the images' keys.

    Args:
        policy: one of POLICIES except none.
        magnitude: of RandAugment, from 0 to MAX_MAGNITUDE.
        height: of the images.
        width: of the images.
    """

    def __init__(self, policy: str, magnitude: float, height: int, width: int) -> None:
        if policy == "randaugment":
            self._rounds, sizes = 2, [magnitude / MAX_MAGNITUDE]
            # Shifts as in AutoAugment, up to 150 pixels of 331.
            ranges = _Ranges(0.3, (150 / 331 * width, 150 / 331 * height), 30, 0.9, 4)
        else:
            self._rounds, sizes = 1, [each / _STRENGTHS for each in range(_STRENGTHS + 1)]
            ranges = _Ranges(0.99, (32, 32), 135, 0.99, 6)
        table = [
            ((name, strength), row)
            for size in sizes
            for strength in (size, -size)
            for name, row in _rows(strength, ranges, height, width).items()
        ]
        self.rows = [name_and_strength for name_and_strength, _ in table]
        """Name and strength, from -1 to 1, of each operation that may be drawn, all with the same probability."""

        self._table = {
            field.name: np.array([getattr(row, field.name) for _, row in table], np.float32)
            for field in dataclasses.fields(_Row)
        }

    def __call__(self, pixels: Tensor, keys: Tensor) -> Tensor:
        """Changes images.

        Args:
            pixels: floating (samples, height, width, channels), 0 to 255.
            keys: uint32 (samples,), from which the operations are drawn.

        Returns:
            Whole numbers from 0 to 255 in the shape and type of `pixels`.
        """
        import tensorflow as tf

        draws = uniform_tensor(keys, self._rounds, zlib.crc32(b"operations"), tf.float64)
        changed = tf.cast(pixels, tf.float32)
        for number in range(self._rounds):
            changed = self.apply(changed, tf.cast(draws[:, number] * len(self.rows), tf.int64))
        return tf.cast(changed, pixels.dtype)

    def apply(self, pixels: Tensor, rows: Tensor) -> Tensor:
        """Applies to each image the operation with the index in `rows`, int64 (samples,), of `self.rows`."""
        import tensorflow as tf

        of = {name: tf.gather(tf.constant(values), rows) for name, values in self._table.items()}
        moved = tf.raw_ops.ImageProjectiveTransformV3(
            images=pixels,
            transforms=of["transform"],
            output_shape=pixels.shape[1:3],
            fill_value=_FILL,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        )
        enhanced = _enhance(tf.ensure_shape(tf.round(moved), pixels.shape), of)
        return _map_values(tf.round(tf.clip_by_value(enhanced, 0, 255)), of)


def _rows(strength: float, ranges: _Ranges, height: int, width: int) -> dict[str, _Row]:
    """The fourteen operations at a strength; of those without a direction, its sign changes nothing."""
    size, factor = abs(strength), 1 + strength * ranges.factor
    turn, shear = math.radians(strength * ranges.degrees), strength * ranges.shear
    along_x, along_y = (strength * shift for shift in ranges.shift)
    step = 2.0 ** round(size * ranges.bits)

    def moved(a: float, b: float, c: float, d: float, x: float = 0, y: float = 0) -> _Row:
        """A linear map about the centre, and a shift."""
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        x += middle_x - a * middle_x - b * middle_y
        y += middle_y - c * middle_x - d * middle_y
        return _Row(transform=(a, b, x, c, d, y, 0, 0))

    return {
        "identity": _Row(),
        "autocontrast": _Row(stretches=True),
        "equalize": _Row(equalizes=True),
        "rotate": moved(math.cos(turn), -math.sin(turn), math.sin(turn), math.cos(turn)),
        "solarize": _Row(curve=np.where(256 * (1 - size) <= _LEVELS, 255 - _LEVELS, _LEVELS)),
        "color": _Row(factor=factor, from_grey=1),
        "posterize": _Row(curve=_LEVELS // step * step),
        "contrast": _Row(factor=factor, from_mean=1),
        "brightness": _Row(factor=factor),
        "sharpness": _Row(factor=factor, from_smooth=1),
        "shear_x": moved(1, shear, 0, 1),
        "shear_y": moved(1, 0, shear, 1),
        "translate_x": moved(1, 0, 0, 1, x=along_x),
        "translate_y": moved(1, 0, 0, 1, y=along_y),
    }


def _enhance(pixels: Tensor, of: dict[str, Tensor]) -> Tensor:
    """Scales the distance of images from their grey, flat, smoothed or black forms."""
    import tensorflow as tf

    _, height, width, channels = pixels.shape
    grey = tf.reduce_mean(pixels, 3, keepdims=True)
    # Sums of whole numbers are exact in any order: of a row in float32, of an image in float64.
    total = tf.reduce_sum(tf.cast(tf.reduce_sum(pixels, (2, 3), keepdims=True), tf.float64), 1, keepdims=True)
    mean = tf.cast(tf.round(total / (height * width * channels)), tf.float32)
    smooth = (9 * tf.nn.avg_pool2d(pixels, 3, 1, "SAME") + 4 * pixels) / 13  # the middle counts five times
    forms = {"from_grey": grey, "from_mean": mean, "from_smooth": smooth}
    base = sum(_per_image(of[name]) * form for name, form in forms.items())
    return base + _per_image(of["factor"]) * (pixels - base)


def _map_values(pixels: Tensor, of: dict[str, Tensor]) -> Tensor:
    """Replaces the pixels' values by those of a curve for each image and channel."""
    import tensorflow as tf

    samples, _, _, channels = pixels.shape
    first_of_curve = np.arange(samples * channels).reshape(samples, 1, 1, channels) * len(_LEVELS)
    places = tf.cast(pixels, tf.int64) + tf.constant(first_of_curve, tf.int64)
    counts = tf.math.unsorted_segment_sum(tf.ones_like(pixels), places, samples * channels * len(_LEVELS))
    counts = tf.reshape(counts, (samples, channels, len(_LEVELS)))
    curves = tf.where(_per_image(of["stretches"])[..., 0] > 0, _stretching(counts), of["curve"][:, None])
    curves = tf.where(_per_image(of["equalizes"])[..., 0] > 0, _equalizing(counts), curves)
    return tf.gather(tf.reshape(curves, (-1,)), places)


def _stretching(counts: Tensor) -> Tensor:
    """The curves (samples, channels, 256) that map the least value to 0 and the largest to 255, as in Pillow."""
    import tensorflow as tf

    least = tf.reduce_min(tf.where(counts > 0, _LEVELS, 255.0), 2, keepdims=True)
    range_ = tf.reduce_max(tf.where(counts > 0, _LEVELS, 0.0), 2, keepdims=True) - least
    stretched = tf.clip_by_value(tf.floor((_LEVELS - least) * 255 / tf.maximum(range_, 1)), 0, 255)
    return tf.where(range_ > 0, stretched, _LEVELS)


def _equalizing(counts: Tensor) -> Tensor:
    """The curves (samples, channels, 256) that make values equally frequent, as in Pillow."""
    import tensorflow as tf

    largest = tf.reduce_max(tf.where(counts > 0, _LEVELS, 0.0), 2, keepdims=True)
    of_largest = tf.reduce_sum(tf.where(largest == _LEVELS, counts, 0.0), 2, keepdims=True)
    step = tf.floor((tf.reduce_sum(counts, 2, keepdims=True) - of_largest) / 255)
    below = tf.cumsum(counts, axis=2, exclusive=True)
    equalized = tf.floor((tf.floor(step / 2) + below) / tf.maximum(step, 1))
    return tf.where(step > 0, tf.minimum(equalized, 255), _LEVELS)


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]
