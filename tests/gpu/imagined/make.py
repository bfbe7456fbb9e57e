"""Builds libraries that make TensorFlow believe that there is a GPU, an H100, where there is none.

python -m tests.gpu.imagined.make FOLDER

Programs started with LD_LIBRARY_PATH=FOLDER then see it. Kernels do nothing: with TF_GPU_ALLOCATOR=cuda_malloc_async,
results are zeros, else whatever was in memory. But graphs are placed and divided between host and GPU as on a real one.
Every copy between the two is made, and is noted in the file that IMAGINED_GPU_COPIES names; a program that copies in a
way that is not imagined is ended. Needs a C compiler, nm, and the environment of `launch/setup.sh --gpu`.
"""

import argparse
import dataclasses
import re
import subprocess
import sysconfig
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
NVIDIA = Path(sysconfig.get_path("purelib")) / "nvidia"
_COPIES = re.compile("emcpy|GraphLaunch|MallocManaged|AllocManaged|[GS]et(Vector|Matrix)")
"""Parts of the names of functions that copy between host and GPU, or may."""


@dataclasses.dataclass(frozen=True)
class Library:
    """A library to stand in for."""

    name: str
    source: str | None = None
    """The C file with those of its functions that must answer something; the others return 0, or end the program
    if they would copy."""

    real: str | None = None
    """The folder of the real one, whose other functions it gets; None for the driver's, which is not installed."""


LIBRARIES = (
    Library("libcuda.so.1", "driver.c"),
    Library("libnvidia-ml.so.1", "nvml.c"),
    Library("libcudart.so.12", "runtime.c", "cuda_runtime"),
    Library("libcublas.so.12", "blas.c", "cublas"),
    Library("libcublasLt.so.12", "blas_lt.c", "cublas"),
    Library("libcudnn.so.9", "dnn.c", "cudnn"),
    Library("libcufft.so.11", None, "cufft"),
    Library("libcusolver.so.11", None, "cusolver"),
    Library("libcusparse.so.12", None, "cusparse"),
)


def make(folder: Path) -> None:
    """Builds all libraries in a folder, which it creates."""
    folder.mkdir(parents=True, exist_ok=True)
    for library in LIBRARIES:
        _build(library, folder)


def _build(library: Library, folder: Path) -> None:
    parts, answered = [], set[str]()
    if library.source:
        answers = folder / f"{library.source}.o"
        _compile("-c", HERE / library.source, "-o", answers)
        parts, answered = [answers], _defined(answers)
    rest = folder / f"{library.name}.rest.c"
    rest.write_text(_unanswering(_functions(library) - answered))
    shared = ("-shared", "-fno-builtin", f"-Wl,-soname,{library.name}")
    _compile(*shared, *parts, rest, "-o", folder / library.name, "-ldl")


def _compile(*arguments: object) -> None:
    subprocess.run(["cc", "-O1", "-fPIC", *_includes(), *map(str, arguments)], check=True)


def _includes() -> list[str]:
    # The last, of CUDA 13, for nv/target alone, which the packages of CUDA 12 lack.
    folders = ("cuda_runtime/include", "cuda_nvcc/include", "cublas/include", "cudnn/include", "cu13/include/cccl")
    return [f"-I{NVIDIA / folder}" for folder in folders]


def _functions(library: Library) -> set[str]:
    """The names of all functions of a library."""
    if library.real:
        return _defined(NVIDIA / library.real / "lib" / library.name, dynamic=True)
    if library.source != "driver.c":
        return set()
    header = NVIDIA / "cuda_runtime" / "include" / "cuda.h"
    # The preprocessor turns names into those of the newest versions: cuMemAlloc into cuMemAlloc_v2.
    text = subprocess.run(["cc", *_includes(), "-E", header], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"\bCUresult\s+(cu\w+)\(", text))


def _defined(library: Path, *, dynamic: bool = False) -> set[str]:
    """The functions that a library or an object file defines."""
    command = ["nm", "--defined-only", *(["--dynamic"] if dynamic else []), str(library)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # An address, a kind (T for functions), and a name with or without a version.
    found = re.findall(r"^\w+ [TW] (\w+)", listed, re.MULTILINE)
    return set(found) - {"_init", "_fini"}


def _unanswering(names: Iterable[str]) -> str:
    """C functions that return 0, but end the program where that would hide a copy."""
    lines = ["#include <stdio.h>", "#include <stdlib.h>"]
    for name in sorted(names):
        refusal = f'fprintf(stderr, "{name} is not imagined\\n"); abort();' if _COPIES.search(name) else "return 0;"
        lines.append(f"int {name}(void) {{ {refusal} }}")
    return "\n".join(lines)


def main() -> None:
    """Builds them in the folder of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    make(parser.parse_args().folder)


if __name__ == "__main__":
    main()
