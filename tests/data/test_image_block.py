"""Memory that NumPy and TensorFlow share."""

import numpy as np
import pytest
import tensorflow as tf

from cnn.data.image_block import as_tensor, new_block


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 5, 7, 3), (2, 224, 224, 3)])
def test_a_tensor_is_the_block_itself_and_keeps_it(shape: tuple[int, ...]) -> None:
    for _ in range(20):
        block = new_block(shape)
        assert (block.shape, block.dtype, block.ctypes.data % 64) == (shape, np.uint8, 0)
        block[...] = 7
        tensor = as_tensor(block[np.newaxis])
        block[...] = 9  # no copy was made
        del block
        assert (tensor.shape, tensor.dtype) == ((1, *shape), tf.uint8)
        assert np.all(tf.concat([tensor, tensor], 0).numpy() == 9)


def test_another_array_is_copied() -> None:
    array = new_block((2, 70))[:, 1:]
    array[...] = 3
    tensor = as_tensor(np.ascontiguousarray(array)[:1])
    assert tensor.numpy().tolist() == [[3] * 69]
    assert as_tensor(new_block((130,))[1:]).shape == (129,)
