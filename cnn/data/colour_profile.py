"""Colours as an image's embedded profile means them, as screens show them."""

import functools
import io

import numpy as np
from PIL import Image, ImageCms

# Profiles that change no colour by more levels than this are sRGB as another program writes it.
_TOLERANCE = 3


@functools.lru_cache(maxsize=16)
def srgb_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What turns pixels of a mode into sRGB.

    Args:
        profile: in the ICC's format.
        mode: of the pixels: RGB, CMYK or L.

    Returns:
        None if the profile is sRGB's, is damaged, or is for other pixels.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        probe = _probe(mode)
        shown = ImageCms.applyTransform(probe, transform)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    assert shown is not None
    change = np.abs(np.asarray(shown, np.int16) - np.asarray(probe.convert("RGB"), np.int16))
    return transform if change.max() > _TOLERANCE else None


def _probe(mode: str) -> Image.Image:
    """Colours from all over a mode's space."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    steps = np.linspace(0, 255, 256 if channels == 1 else 9 if channels == 3 else 4).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(*[steps] * channels), axis=-1).reshape(-1, channels)
    return Image.frombytes(mode, (len(colours), 1), colours.tobytes())
