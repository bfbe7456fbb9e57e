"""How the set-up builds Horovod's library."""

import importlib.util
import re
import subprocess
from pathlib import Path


def test_it_looks_for_libraries_only_beside_itself() -> None:
    """Not in a folder of the build, for example, which anyone may make again in /tmp."""
    horovod = importlib.util.find_spec("horovod")
    assert horovod is not None
    assert horovod.origin is not None
    (library,) = Path(horovod.origin).parent.glob("tensorflow/mpi_lib*.so")
    dynamic = subprocess.run(["readelf", "--dynamic", "--wide", library], capture_output=True, text=True, check=True)
    (searched,) = re.findall(r"\(RUNPATH\).*\[(.*)\]", dynamic.stdout)
    assert [folder for folder in searched.split(":") if not folder.startswith("$ORIGIN/")] == []
