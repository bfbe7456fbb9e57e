import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

_PROGRAM = """
import os, resource, sys
from pathlib import Path
from cnn.data.store.decoding import Chunk, decode_chunks

path, array, room = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
array.write_bytes(bytes(3 * 16 * 16))
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + room,) * 2)
chunk = Chunk(part="train", start=0, paths=[path], times=[0], size=16, file=array, offset=0)
print([decoded.damaged for decoded in decode_chunks([chunk])])
"""


@pytest.mark.parametrize("bytes_of_a_pixel", [10, 2])
def test_a_large_image_of_16_bits_takes_little_memory_or_is_named(tmp_path: Path, bytes_of_a_pixel: int) -> None:
    path = tmp_path / "large.png"
    Image.new("I;16", (4000, 4000), 0x8080).save(path, compress_level=1)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, path, tmp_path / "array", str(bytes_of_a_pixel * 4000 * 4000)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        check=False,
    )
    if bytes_of_a_pixel == 10:
        assert done.stdout == "[[]]\n", done.stderr
    else:
        assert done.stderr.splitlines()[-1] == (
            f"cnn.errors.RunError: there is not enough memory to decode {path}: free some, or make the image smaller, "
            "and start again, which resumes the preparation."
        )
