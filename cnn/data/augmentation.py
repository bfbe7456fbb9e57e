"""Random changes to training images, on the device, inside the compiled step.

What happens to a sample is a function of its key (seed, epoch, place in the epoch) and, when two are mixed, of its
group; so it is the same on any number of workers.
"""

import dataclasses
import math
import zlib
from typing import Any, NamedTuple

import numpy as np

from cnn.choices import check_choice, one_of
from cnn.errors import UserError
from cnn.keyed_random import uniform_tensor
from cnn.tensor import Tensor

CROPS = ("centre", "random", "pad", "resized")
_SMALLEST_AREA = 0.25
_ASPECTS = (3 / 4, 4 / 3)

_INWARDS = 1e-6
"""Of an image's side, how far inside cut-outs end: what rounding puts beyond a border would be black."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationSettings:
    """How training images are changed at random."""

    crop: str = one_of(lambda: CROPS, "centre")
    """centre; random: anywhere in the stored image, which is larger; pad: shifted by up to an eighth, the borders
    mirrored; resized: a part of a quarter to all of the area, as wide as 3/4 to 4/3 of its height, resized."""

    flip: bool = False
    """Mirror every other image, left to right."""

    colour_jitter: float = 0.0
    """Brightness, contrast and saturation change by a factor of up to 1 - this to 1 + this."""

    erase: float = 0.0
    """Probability that a rectangle, a fiftieth to a third of the image, is erased (Zhong et al., 2017)."""

    mixup: float = 0.0
    """Blend images and labels in pairs, in proportions from Beta(this, this) (Zhang et al., 2017); 0.2 is usual."""

    cutmix: float = 0.0
    """Paste a rectangle of another image, its label likewise; areas from Beta(this, this) (Yun et al., 2019); 1 is
    usual. With mixup too, every other image is pasted into instead of blended."""

    def __post_init__(self) -> None:
        check_choice("crop", self.crop, CROPS)
        for name in ("colour_jitter", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"--{name} {getattr(self, name)} is not in [0, 1]: give a number there, 0.3 say.")
        for name in ("mixup", "cutmix"):
            if not (getattr(self, name) >= 0 and math.isfinite(getattr(self, name))):
                raise UserError(f"--{name} {getattr(self, name)} is negative or no number: give 0, or 0.2 say.")

    @property
    def mixes(self) -> bool:
        """Whether samples are changed by others of their group."""
        return self.mixup > 0 or self.cutmix > 0


class Mixed(NamedTuple):
    """A batch whose samples may each be part of two classes."""

    images: Tensor
    """Standardised images (samples, height, width, channels)."""

    labels: Tensor
    """int32 (samples,)."""

    partners: Tensor
    """int32 (samples,): the labels of what was mixed in; None when nothing is."""

    shares: Tensor
    """Floating (samples,): the part of each sample that is its own; None when all is."""


class Augmentation:
    """Changes batches as the settings say.

    Args:
        settings: what to do.
        stored_shape: (height, width, channels) of the images as they come.
        input_shape: (height, width, channels) of those that go to the network.

    Raises:
        UserError: a random crop of images that leave no room for one.
    """

    def __init__(
        self,
        settings: AugmentationSettings,
        stored_shape: tuple[int, int, int],
        input_shape: tuple[int, int, int],
    ) -> None:
        self.settings = settings
        self._stored = stored_shape[:2]
        self._input = input_shape[:2]
        if settings.crop == "random" and self._stored == self._input:
            raise UserError(
                "--crop random needs images that are stored larger than the network takes them, which these are not: "
                "use --crop pad or resized."
            )

    def crop(self, pixels: Tensor, keys: Tensor, dtype: Any) -> Tensor:
        """Pixels (samples, height, width, channels) cut and mirrored; uint8, or `dtype` where they were resized."""
        import tensorflow as tf

        draws = self._draws(keys, 5, "crop", dtype)
        flipped = draws[:, 0] < 0.5 if self.settings.flip else tf.zeros_like(draws[:, 0], tf.bool)
        if self.settings.crop == "resized":
            return self._resized(pixels, draws, flipped, dtype)
        rows, columns = (self._window(axis, draws[:, 1 + axis]) for axis in (0, 1))
        columns = tf.where(flipped[:, None], columns[:, ::-1], columns)
        return tf.gather(tf.gather(pixels, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)

    def _window(self, axis: int, draws: Tensor) -> Tensor:
        """Which rows or columns (samples, input side) to take; those beyond the border are mirrored at it."""
        import tensorflow as tf

        stored, wanted = self._stored[axis], self._input[axis]
        room = stored - wanted
        pad = wanted // 8 if self.settings.crop == "pad" else 0
        if self.settings.crop == "centre":
            first = tf.fill(tf.shape(draws), room // 2)
        else:
            first = tf.cast(tf.floor(draws * (room + 2 * pad + 1)), tf.int32) - pad
        positions = tf.abs(first[:, None] + tf.range(wanted))
        return (stored - 1) - tf.abs((stored - 1) - positions)

    def _resized(self, pixels: Tensor, draws: Tensor, flipped: Tensor, dtype: Any) -> Tensor:
        import tensorflow as tf

        area = _SMALLEST_AREA + (1 - _SMALLEST_AREA) * draws[:, 1]
        low, high = (math.log(aspect) for aspect in _ASPECTS)
        aspect = tf.exp(low + (high - low) * draws[:, 2])
        width, height = (tf.minimum(tf.sqrt(area * ratio), 1) for ratio in (aspect, 1 / aspect))
        top, left = draws[:, 3] * (1 - height), draws[:, 4] * (1 - width)
        right = left + width
        boxes = tf.stack([top, tf.where(flipped, right, left), top + height, tf.where(flipped, left, right)], 1)
        boxes = (1 - 2 * _INWARDS) * tf.cast(boxes, tf.float32) + _INWARDS
        cut = tf.image.crop_and_resize(tf.cast(pixels, tf.float32), boxes, tf.range(tf.shape(pixels)[0]), self._input)
        return tf.cast(cut, dtype)

    def colour(self, pixels: Tensor, keys: Tensor) -> Tensor:
        """Floating pixels from 0 to 255 with other brightness, contrast and saturation."""
        import tensorflow as tf

        if not self.settings.colour_jitter:
            return pixels
        factors = 1 + self.settings.colour_jitter * (2 * self._draws(keys, 3, "colour", pixels.dtype) - 1)
        brightness, contrast, saturation = (factors[:, number, None, None, None] for number in range(3))
        pixels = pixels * brightness
        grey = tf.reduce_mean(pixels, 3, keepdims=True)
        mean = tf.reduce_mean(grey, (1, 2), keepdims=True)
        pixels = grey + (pixels - grey) * saturation
        return tf.clip_by_value(mean + (pixels - mean) * contrast, 0, 255)

    def erase(self, images: Tensor, keys: Tensor) -> Tensor:
        """Standardised images with a rectangle set to the mean, in some."""
        import tensorflow as tf

        if not self.settings.erase:
            return images
        draws = self._draws(keys, 5, "erase", images.dtype)
        area = 0.02 + (0.33 - 0.02) * draws[:, 1]
        aspect = tf.exp(math.log(0.3) + (math.log(1 / 0.3) - math.log(0.3)) * draws[:, 2])
        height, width = tf.minimum(tf.sqrt(area * aspect), 1), tf.minimum(tf.sqrt(area / aspect), 1)
        kept = self._outside(height, width, draws[:, 3], draws[:, 4])
        erased = draws[:, 0] < self.settings.erase
        return images * tf.where(erased[:, None, None, None], kept, 1)

    def _outside(self, height: Tensor, width: Tensor, down: Tensor, across: Tensor) -> Tensor:
        """Masks (samples, height, width, 1): 0 in rectangles of these parts of the sides, 1 elsewhere."""
        import tensorflow as tf

        inside = []
        for side, part, place in zip(self._input, (height, width), (down, across), strict=True):
            first = tf.floor(place * (1 - part) * side)
            last = first + tf.round(part * side)
            positions = tf.range(side, dtype=part.dtype)
            inside.append((positions >= first[:, None]) & (positions < last[:, None]))
        both = inside[0][:, :, None, None] & inside[1][:, None, :, None]
        return tf.cast(tf.logical_not(both), height.dtype)

    def mix(self, images: Tensor, labels: Tensor, keys: Tensor, weights: Tensor, group_size: int) -> Mixed:
        """Blends each sample with the next real one of its group, or pastes a part of that one into it."""
        import tensorflow as tf

        if not self.settings.mixes:
            return Mixed(images, labels, None, None)
        partners = _next_in_group(weights, group_size)
        draws = self._draws(keys, 5, "mix", images.dtype)
        mixup, cutmix = self.settings.mixup, self.settings.cutmix
        masks = []
        if mixup:
            own = _beta(mixup, draws[:, 0])[:, None, None, None]
            masks.append(tf.broadcast_to(own, (tf.shape(draws)[0], *self._input, 1)))
        if cutmix:
            side = tf.sqrt(1 - _beta(cutmix, draws[:, 1]))
            masks.append(self._outside(side, side, draws[:, 2], draws[:, 3]))
        mask = masks[0] if len(masks) == 1 else tf.where((draws[:, 4] < 0.5)[:, None, None, None], *masks)
        images = mask * images + (1 - mask) * tf.gather(images, partners)
        return Mixed(images, labels, tf.gather(labels, partners), tf.reduce_mean(mask, (1, 2, 3)))

    @staticmethod
    def _draws(keys: Tensor, units: int, what: str, dtype: Any) -> Tensor:
        return uniform_tensor(keys, units, zlib.crc32(what.encode()), dtype)


def _next_in_group(weights: Tensor, group_size: int) -> Tensor:
    """For each sample the index of the next real one of its group; the last's is the first."""
    import tensorflow as tf

    places = tf.range(tf.shape(weights)[0])
    within = places % group_size
    real = tf.reduce_sum(tf.reshape(tf.cast(weights, tf.int32), (-1, group_size)), 1)
    following = tf.where(within + 1 < tf.repeat(real, group_size), within + 1, 0)
    return places - within + following


def _beta(alpha: float, draws: Tensor) -> Tensor:
    """Uniform draws to ones of Beta(alpha, alpha), by a table of its quantiles."""
    import tensorflow as tf
    from scipy.stats import beta

    levels = 4096
    alpha = min(max(alpha, 1e-8), 1e15)  # beyond, SciPy fails; there all draws are 0 or 1, or all are 0.5, already
    table = tf.constant(beta.ppf((np.arange(levels) + 0.5) / levels, alpha, alpha), draws.dtype)
    return tf.gather(table, tf.cast(draws * levels, tf.int32))
