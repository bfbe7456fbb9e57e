"""`import cnn` costs nothing, and offers what a notebook needs."""

import subprocess
import sys

import pytest

import cnn

CHEAP = """
import sys, cnn
heavy = {"numpy", "PIL", "cnn.notebook", "tensorflow", "keras", "matplotlib", "jsonargparse"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
assert {"load", "network", "train"} <= {*dir(cnn)}
cnn.load, cnn.network, cnn.train
assert not {"tensorflow", "keras", "matplotlib", "jsonargparse"} & sys.modules.keys()
"""


def test_it_is_cheap() -> None:
    done = subprocess.run([sys.executable, "-c", CHEAP], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_another_name_is_an_ordinary_mistake() -> None:
    with pytest.raises(AttributeError, match="module 'cnn' has no attribute 'lode'"):
        _ = cnn.lode
