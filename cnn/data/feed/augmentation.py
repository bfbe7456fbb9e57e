"""Data augmentation on the device, inside the compiled step.

How a sample is augmented depends only on its key (seed, epoch, position in the epoch) and, for mixup and CutMix, on its
group, so it is the same for any number of workers.
"""

import dataclasses
import functools
import math
import zlib
from typing import Any, NamedTuple

import numpy as np

from cnn.choices import check_choice, one_of
from cnn.data.feed.resized_crops import resized_crops
from cnn.errors import UserError
from cnn.keyed_random import uniform_tensor
from cnn.tensor import Tensor

CROPS = ("centre", "random", "pad", "resized")
_SMALLEST_AREA = 0.25
_ASPECTS = (3 / 4, 4 / 3)

_BORDER_MARGIN = 1e-6
"""Margin of resized crops to the image's border, as a fraction of its side: points rounded beyond it would be black."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationSettings:
    """Random augmentation of training images."""

    crop: str = one_of(lambda: CROPS, "centre")
    """centre; random: anywhere in the larger stored image; pad: shifted by up to an eighth, with mirrored borders;
    resized: a rectangle of 1/4 to all of the area, with an aspect ratio of 3/4 to 4/3, resized."""

    flip: bool = False
    """Mirror images left to right with probability 1/2."""

    colour_jitter: float = 0.0
    """Maximum change x of brightness, contrast and saturation: each is scaled by a factor from 1 - x to 1 + x."""

    erase: float = 0.0
    """Probability that a rectangle of 0.02 to 0.33 of the image's area is erased (Zhong et al., 2017)."""

    mixup: float = 0.0
    """Alpha of mixup: mix pairs of images and labels by Beta(alpha, alpha) weights (Zhang et al., 2017); usual: 0.2."""

    cutmix: float = 0.0
    """Alpha of CutMix: paste a rectangle of another image and mix labels by area, drawn from Beta(alpha, alpha) (Yun
    et al., 2019); usual: 1. If mixup is set too, one of the two is chosen at random for each image."""

    def __post_init__(self) -> None:
        check_choice("crop", self.crop, CROPS)
        for name in ("colour_jitter", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"--{name} {getattr(self, name)} is not in [0, 1]: choose a number from 0 to 1.")
        for name in ("mixup", "cutmix"):
            if not (getattr(self, name) >= 0 and math.isfinite(getattr(self, name))):
                raise UserError(f"--{name} {getattr(self, name)} is not a finite number from 0 on: try 0 or 0.2.")

    @property
    def mixes(self) -> bool:
        """Whether samples are mixed with others of their group."""
        return self.mixup > 0 or self.cutmix > 0


def centre_offset(stored: int, size: int) -> int:
    """First row or column of a centred crop of `size` of `stored` rows or columns."""
    return (stored - size) // 2


class Mixed(NamedTuple):
    """A batch whose samples may each be a mixture of two."""

    images: Tensor
    """Standardised images (samples, height, width, channels)."""

    labels: Tensor
    """int64 (samples,)."""

    partners: Tensor
    """int64 (samples,): labels of the images mixed in; None without mixing."""

    shares: Tensor
    """Floating (samples,): weights of `labels`, 1 minus those of `partners`; None without mixing."""


class Augmentation:
    """Augments batches.

    Args:
        settings: operations to apply.
        stored_shape: (height, width, channels) of stored images.
        input_shape: (height, width, channels) of the network's input.

    Raises:
        UserError: random crops from images that are not larger than the network's input.
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
                "--crop random needs stored images that are larger than the network's input, but they are of the same "
                "size: use --crop pad or resized."
            )

    def crop(self, pixels: Tensor, keys: Tensor, dtype: Any) -> Tensor:
        """Crops and flips uint8 (samples, height, width, channels); returns floating `dtype`, 0 to 255."""
        import tensorflow as tf

        draws = self._draws(keys, 5, "crop", dtype)
        flipped = draws[:, 0] < 0.5 if self.settings.flip else tf.zeros_like(draws[:, 0], tf.bool)
        if self.settings.crop == "resized":
            return self._resized(pixels, draws, flipped, dtype)
        rows, columns = (self._crop_indices(axis, draws[:, 1 + axis]) for axis in (0, 1))
        columns = tf.where(flipped[:, None], columns[:, ::-1], columns)
        pixels = tf.cast(pixels, dtype)  # first: on a GPU TensorFlow does not gather uint8
        return tf.gather(tf.gather(pixels, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)

    def _crop_indices(self, axis: int, draws: Tensor) -> Tensor:
        """Row or column indices (samples, input side) of the crops, mirrored at the image's border."""
        import tensorflow as tf

        stored, size = self._stored[axis], self._input[axis]
        pad = size // 8 if self.settings.crop == "pad" else 0
        if self.settings.crop == "centre":
            first = tf.fill(tf.shape(draws), tf.constant(centre_offset(stored, size), tf.int64))
        else:
            first = tf.cast(tf.floor(draws * (stored - size + 2 * pad + 1)), tf.int64) - pad
        positions = tf.abs(first[:, None] + tf.range(size, dtype=tf.int64))
        return (stored - 1) - tf.abs((stored - 1) - positions)

    def _resized(self, pixels: Tensor, draws: Tensor, flipped: Tensor, dtype: Any) -> Tensor:
        import tensorflow as tf

        area = _SMALLEST_AREA + (1 - _SMALLEST_AREA) * draws[:, 1]
        low, high = (math.log(aspect) for aspect in _ASPECTS)
        aspect = tf.exp(low + (high - low) * draws[:, 2])
        width, height = (tf.minimum(tf.sqrt(area * ratio), 1) for ratio in (aspect, 1 / aspect))
        if not tf.config.get_visible_devices("GPU"):
            return tf.cast(self._resized_on_host(pixels, height, width, draws, flipped), dtype)
        top, left = draws[:, 3] * (1 - height), draws[:, 4] * (1 - width)
        right = left + width
        boxes = tf.stack([top, tf.where(flipped, right, left), top + height, tf.where(flipped, left, right)], 1)
        boxes = (1 - 2 * _BORDER_MARGIN) * tf.cast(boxes, tf.float32) + _BORDER_MARGIN
        cut = tf.image.crop_and_resize(tf.cast(pixels, tf.float32), boxes, tf.range(tf.shape(pixels)[0]), self._input)
        return tf.cast(cut, dtype)

    def _resized_on_host(self, pixels: Tensor, height: Tensor, width: Tensor, draws: Tensor, flipped: Tensor) -> Tensor:
        """Crops of these fractions of the stored height and width, to whole pixels, uint8."""
        import tensorflow as tf

        firsts, lengths = [], []
        for stored, fraction, draw in zip(self._stored, (height, width), (draws[:, 3], draws[:, 4]), strict=True):
            length = tf.maximum(tf.round(fraction * stored), 1)
            firsts.append(
                tf.minimum(tf.floor(draw * (stored - length + 1)), stored - length)
            )  # rounding makes a draw 1
            lengths.append(length)
        windows = tf.cast(tf.stack([*firsts, *lengths], 1), tf.int32)
        crops = functools.partial(resized_crops, size=self._input)
        cut = tf.numpy_function(crops, [pixels, windows, flipped], tf.uint8, stateful=False)
        return tf.ensure_shape(cut, (*pixels.shape[:1], *self._input, pixels.shape[3]))

    def colour(self, pixels: Tensor, keys: Tensor) -> Tensor:
        """Changes brightness, contrast and saturation of floating-point pixels from 0 to 255."""
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
        """Sets a rectangle in some of the standardised images to the mean."""
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

    def _outside(self, height: Tensor, width: Tensor, top: Tensor, left: Tensor) -> Tensor:
        """Masks (samples, height, width, 1): 1 outside rectangles, 0 inside.

        `height` and `width` are fractions of the image's sides, `top` and `left` of the remaining rows and columns.
        """
        import tensorflow as tf

        inside = []
        for side, length, offset in zip(self._input, (height, width), (top, left), strict=True):
            start = tf.floor(offset * (1 - length) * side)
            stop = start + tf.round(length * side)
            positions = tf.range(side, dtype=length.dtype)
            inside.append((positions >= start[:, None]) & (positions < stop[:, None]))
        both = inside[0][:, :, None, None] & inside[1][:, None, :, None]
        return tf.cast(tf.logical_not(both), height.dtype)

    def mix(self, images: Tensor, labels: Tensor, keys: Tensor, weights: Tensor, group_size: int) -> Mixed:
        """Mixes each sample with the next real one (weight 1, not padding) of its group, by mixup or CutMix."""
        import tensorflow as tf

        if not self.settings.mixes:
            return Mixed(images, labels, None, None)
        partners = _next_in_group(weights, group_size)
        draws = self._draws(keys, 5, "mix", images.dtype)
        mixup, cutmix = self.settings.mixup, self.settings.cutmix
        masks = []
        if mixup:
            shares = _beta(mixup, draws[:, 0])[:, None, None, None]
            masks.append(tf.broadcast_to(shares, (tf.shape(draws)[0], *self._input, 1)))
        if cutmix:
            side = tf.sqrt(1 - _beta(cutmix, draws[:, 1]))
            masks.append(self._outside(side, side, draws[:, 2], draws[:, 3]))
        mask = masks[0] if len(masks) == 1 else tf.where((draws[:, 4] < 0.5)[:, None, None, None], *masks)
        images = mask * images + (1 - mask) * tf.gather(images, partners)
        return Mixed(images, labels, tf.gather(labels, partners), tf.reduce_mean(mask, (1, 2, 3)))

    @staticmethod
    def _draws(keys: Tensor, units: int, purpose: str, dtype: Any) -> Tensor:
        return uniform_tensor(keys, units, zlib.crc32(purpose.encode()), dtype)


def _next_in_group(weights: Tensor, group_size: int) -> Tensor:
    """Index of the next real sample of each sample's group; the last real one is followed by the first."""
    import tensorflow as tf

    samples = np.arange(weights.shape[0])
    in_group = samples % group_size
    real = tf.repeat(tf.reduce_sum(tf.reshape(weights, (-1, group_size)), 1), group_size)
    return samples - in_group + tf.where(in_group + 1 < real, in_group + 1, 0)


def _beta(alpha: float, draws: Tensor) -> Tensor:
    """Maps uniform draws to draws from Beta(alpha, alpha), by a table of its quantiles."""
    import tensorflow as tf
    from scipy.special import betaincinv  # scipy.stats, which has it as beta.ppf, takes a second to import

    levels = 4096
    alpha = min(max(alpha, 1e-8), 1e15)  # SciPy fails beyond, where draws are 0 or 1, or 0.5, anyway
    table = tf.constant(betaincinv(alpha, alpha, (np.arange(levels) + 0.5) / levels), draws.dtype)
    return tf.gather(table, tf.cast(draws * levels, tf.int64))
