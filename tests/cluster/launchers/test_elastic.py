"""Which errors mean that another rank has gone, and which do not."""

import pytest
import tensorflow as tf
from horovod.common.exceptions import HorovodInternalError

from cnn.cluster.launchers.elastic import is_lost_peer_error

GLOO = "[/src/third_party/gloo/gloo/transport/tcp/pair.cc:589] Read error [10.0.0.2]:4: Connection reset by peer"


@pytest.mark.parametrize(
    "error",
    [
        HorovodInternalError("the ranks are not connected"),
        tf.errors.UnknownError(None, None, "Horovod has been shut down. This was caused by an exception on one rank."),
        tf.errors.UnknownError(None, None, GLOO),
        tf.errors.InternalError(None, None, GLOO),
        RuntimeError(GLOO),
    ],
)
def test_a_lost_peer(error: Exception) -> None:
    assert is_lost_peer_error(error)


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[9216,4096]"),
        tf.errors.InvalidArgumentError(None, None, "logits and labels must be broadcastable"),
        RuntimeError("generator raised StopIteration"),
        KeyError("Horovod"),
        ValueError("/gloo/"),
    ],
)
def test_an_ordinary_error(error: Exception) -> None:
    assert not is_lost_peer_error(error)
