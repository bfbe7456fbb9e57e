"""Empties the libraries of OpenCV's package for video, AVIF and linear algebra: `python opencv_without_video.py`.

The project only resizes images by OpenCV, and the image is 80 MB smaller without FFmpeg, libavif and OpenBLAS. As the
package's one extension module is linked to them, each is replaced by a library that has the same names, and whose
functions end the program.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2

_KEPT = "libpng"


class _Symbol(NamedTuple):
    name: str
    version: str
    """Empty if the library has no versions."""


def main() -> None:
    """Replaces those that the module is linked to, and deletes those that only these need."""
    module = Path(cv2.__file__).with_name("cv2.abi3.so")
    wanted = set(_symbols(module, defined=False))
    linked = re.findall(r"\(NEEDED\).*\[(.+)\]", _readelf("--dynamic", module))
    for library in sorted((module.parents[1] / "opencv_python_headless.libs").iterdir()):
        if library.name.startswith(_KEPT):
            continue
        provided = wanted.intersection(_symbols(library, defined=True))
        library.unlink()
        if library.name in linked:
            _link_empty(library, sorted(provided))


def _link_empty(library: Path, symbols: list[_Symbol]) -> None:
    """Makes a library whose functions are invalid instructions."""
    versions = {symbol.version for symbol in symbols} - {""}
    code = "\n".join(f".globl {name}\n.type {name}, @function\n{name}: ud2" for name, _ in symbols)
    with tempfile.TemporaryDirectory() as folder:
        source, script = Path(folder, "empty.s"), Path(folder, "versions")
        source.write_text(f".text\n{code}\n")
        script.write_text("".join(f"{version} {{ global: *; }};\n" for version in versions))
        options = [f"-Wl,-soname,{library.name}", *([f"-Wl,--version-script,{script}"] if versions else [])]
        subprocess.run(["gcc", "-shared", "-nostdlib", *options, "-o", library, source], check=True)


def _symbols(file: Path, *, defined: bool) -> Iterator[_Symbol]:
    for line in _readelf("--dyn-syms", file).splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[4] in ("GLOBAL", "WEAK") and (fields[6] != "UND") == defined:
            name, _, version = fields[7].replace("@@", "@").partition("@")
            yield _Symbol(name, version)


def _readelf(option: str, file: Path) -> str:
    return subprocess.run(["readelf", "-W", option, file], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
