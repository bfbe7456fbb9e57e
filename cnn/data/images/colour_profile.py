"""Conversion of pixels to sRGB by an image's embedded ICC profile."""

import functools
import io

import numpy as np
from PIL import Image, ImageCms

# Levels of 256; a profile that changes no colour by more is sRGB as written by another program.
_TOLERANCE = 3


@functools.lru_cache(maxsize=16)
def srgb_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform of pixels to sRGB.

    Args:
        profile: ICC profile of the pixels.
        mode: mode of the pixels: RGB, CMYK or L.

    Returns:
        None if the profile is sRGB, is damaged, or does not fit the mode.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        probe = _probe(mode)
        converted = ImageCms.applyTransform(probe, transform)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    assert converted is not None
    change = np.abs(np.asarray(converted, np.int16) - np.asarray(probe.convert("RGB"), np.int16))
    return transform if change.max() > _TOLERANCE else None


def _probe(mode: str) -> Image.Image:
    """A grid of colours over the complete range of a mode, as an image."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    steps = np.linspace(0, 255, 256 if channels == 1 else 9 if channels == 3 else 4).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(*[steps] * channels), axis=-1).reshape(-1, channels)
    return Image.frombytes(mode, (len(colours), 1), colours.tobytes())
