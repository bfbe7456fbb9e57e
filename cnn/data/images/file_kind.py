"""Recognition of image formats, and of files that are not images or are of an unsupported format, by first bytes."""

import re

_PHOTOGRAPH = "which is not supported: save it as JPEG"

_UNSUPPORTED = [
    (0, rb"(?s)....ftyp(?!.{0,64}?avi[fs]).{0,64}?(hei[cxms]|hev[cxms])", f"a HEIC photograph, {_PHOTOGRAPH}"),
    (
        0,
        rb"(?s)....ftypcrx |II\*\0....CR|II(RO|RS|U\0)|MMOR|FUJIFILMCCD-RAW|FOVb",
        f"a camera's raw file, {_PHOTOGRAPH}",
    ),
    (0, rb"\xff\x0a|\0\0\0\x0cJXL ", f"a JPEG XL image, {_PHOTOGRAPH}"),
    (0, rb"II\xbc\x01", f"a JPEG XR image, {_PHOTOGRAPH}"),
    (0, rb"8BPS", f"a Photoshop file, {_PHOTOGRAPH}"),
    (0, rb"gimp xcf", f"a GIMP file, {_PHOTOGRAPH}"),
    (0, rb"%PDF", "a PDF document"),
    (0, rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript file"),
    (0, rb"version https://git-lfs", "a Git LFS pointer in place of the file: run git lfs pull"),
    (
        0,
        rb"(?is)(\xef\xbb\xbf)?\s*(<\?xml.{0,2000}?|<!--.{0,2000}?-->\s*)?(<!DOCTYPE svg.{0,1000}?)?<svg",
        "an SVG drawing",
    ),
    (0, rb"(?is)(\xef\xbb\xbf)?\s*(<!--.{0,2000}?-->\s*)?<(!DOCTYPE html|html|head|body|script)", "a web page"),
    (
        0,
        rb"(?s)....ftyp(?!.{0,64}?avi[fs])|....moov|....mdat|\x1aE\xdf\xa3|RIFF....AVI |\0\0\x01[\xb3\xba]|FLV\x01",
        "a video",
    ),
    (0, rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf|BZh|\xfd7zXZ", "an archive or an office document"),
    (0, rb"\0\x05\x16[\x00\x07]", "macOS metadata of a file, not the file itself"),
    (0, rb"\0\0[\x01\x02]\0", "an icon"),
    (0, rb"P7\n", "a PAM image, which is not supported: save it as PNG"),
    (128, rb"DICM", "a DICOM image"),
    (0, rb"\x93NUMPY", "a NumPy array"),
    (0, rb"\x89HDF|CDF[\x01\x02]|SIMPLE  =", "a scientific data file"),
    (0, rb"\0+\Z", "zeros instead of an image"),
    (0, rb"(?!P[1-6]\s)(?=.*[A-Za-z])[\t\n\f\r\x20-\x7e\x80-\xff]+\Z", "a text file"),
]
_SUPPORTED = [
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG", "PNG"),
    (rb"GIF8", "GIF"),
    (rb"BM", "BMP"),
    (rb"(?s)RIFF....WEBP", "WebP"),
    (rb"II[*+]\0|MM\0[*+]", "TIFF"),
    (rb"(?s)....ftyp.{0,64}?avi[fs]", "AVIF"),
    (rb"\xff\x4f\xff\x51|\0\0\0\x0cjP", "JPEG 2000"),
    (rb"P[1-6]\s", "PNM"),
]

_COMPILED = [(offset, re.compile(pattern), name) for offset, pattern, name in _UNSUPPORTED]


def unsupported_kind(start: bytes) -> str | None:
    """Describes a file that is not an image of a supported format.

    Args:
        start: first bytes of the file: several hundred, or all.

    Returns:
        A noun with its article, and advice if there is any; None if the file may be an image, or is not recognised.
    """
    if not start:
        return "an empty file"
    return next((name for offset, pattern, name in _COMPILED if pattern.match(start, offset)), None)


def supported_format(start: bytes) -> str | None:
    """The supported image format that a file claims to have, by its first bytes."""
    return next((name for pattern, name in _SUPPORTED if re.match(pattern, start)), None)
