"""Colour profiles for tests."""

import struct

SRGB = {"r": (0.4361, 0.2225, 0.0139), "g": (0.3851, 0.7169, 0.0971), "b": (0.1431, 0.0606, 0.7141)}
DISPLAY_P3 = {"r": (0.5151, 0.2412, -0.0011), "g": (0.2920, 0.6922, 0.0419), "b": (0.1571, 0.0666, 0.7841)}
"""XYZ of the primaries, as adapted to a profile's D50."""


def _number(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _file(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(78), **tags}
    table, data, start = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    white = b"".join(map(_number, (0.9642, 1, 0.8249)))
    head = b"lcms" + b"\2\x10\0\0mntr" + space + b"XYZ " + bytes(12) + b"acsp" + bytes(28) + white
    head = struct.pack(">I", 132 + len(table) + len(data)) + head.ljust(124, b"\0")
    return head + struct.pack(">I", len(tags)) + table + data


def rgb_profile(primaries: dict[str, tuple[float, float, float]], gamma: float = 2.2) -> bytes:
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = {b"wtpt": b"XYZ " + bytes(4) + b"".join(map(_number, (0.9642, 1, 0.8249)))}
    for name, place in primaries.items():
        tags[f"{name}XYZ".encode()] = b"XYZ " + bytes(4) + b"".join(map(_number, place))
        tags[f"{name}TRC".encode()] = curve
    return _file(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    return _file(b"GRAY", {b"wtpt": b"XYZ " + bytes(4) + b"".join(map(_number, (0.9642, 1, 0.8249))), b"kTRC": curve})
