"""Lengths that ranks with other numbers of threads compute alike."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from cnn.optim.norms import clipped, norms

PROGRAM = """
import sys
import numpy as np
import tensorflow as tf
from cnn.optim.norms import clipped, norms

tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
values = [np.random.default_rng(0).standard_normal(shape, np.float32) for shape in ((3_000_000,), (1500, 2000), (7,))]
values[0] = values[0].reshape(3, 10, 100, 1000)
gradients = [tf.constant(each) for each in values]
found = [norms([each], "any")[0] for each in gradients]
print([float(each).hex() for each in found], [float(each[0][0]).hex() for each in clipped(gradients[1:2], 1)])
"""


def test_they_do_not_depend_on_threads() -> None:
    """With 7 TensorFlow's own sum of 3,000,000 numbers is another one than with 1."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(threads)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for threads in (1, 7)
    ]
    one, seven = (process.communicate(timeout=60)[0] for process in started)
    assert one.count(b"0x") == 4
    assert one == seven


@pytest.mark.parametrize("shape", [(1,), (5,), (3, 4), (2, 3, 4, 5)])
def test_the_length_of_any_shape(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(1).standard_normal(shape)
    assert norms([tf.constant(values)], "any")[0].numpy() == pytest.approx(np.sqrt(np.sum(values**2)), rel=1e-12)


def test_only_what_is_too_long_is_scaled_down() -> None:
    gradients = [tf.constant([3.0, 0.0]), tf.constant([[4.0]])]
    for most, scale in ((10.0, 1.0), (2.5, 0.5)):
        first, second = clipped(gradients, most)
        assert np.allclose(first, [3 * scale, 0])
        assert np.allclose(second, [[4 * scale]])
