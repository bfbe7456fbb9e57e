"""Workers that come and go while a job runs, under `horovodrun --min-np ... --host-discovery-script`."""

import os
import re
import threading
from typing import Any

from cnn.errors import RunError


class WorkersChangedError(RunError):
    """The job goes on with other workers, from what they last agreed on; raised on each of those that are left."""


def is_elastic() -> bool:
    """Whether the launcher replaces workers that are lost, and takes in others."""
    return os.environ.get("HOROVOD_ELASTIC") == "1"


def tells_of_a_lost_peer(error: BaseException) -> bool:
    """Whether an error means that another rank has gone, and not that something is wrong here.

    Horovod's own words reach Python as errors of TensorFlow of several kinds, or as its own; other errors of the same
    kinds say nothing of it.
    """
    import tensorflow as tf
    from horovod.common.exceptions import HorovodInternalError

    if isinstance(error, HorovodInternalError):
        return True
    return isinstance(error, tf.errors.OpError | RuntimeError) and bool(re.search(r"Horovod|/gloo/", str(error)))


class Membership:
    """Hears from the launcher that workers have come or are to go."""

    def __init__(self) -> None:
        self._changed = threading.Event()
        if is_elastic():
            from horovod.common.elastic import notification_manager

            notification_manager.init()
            notification_manager.register_listener(self)

    def on_hosts_updated(self, timestamp: float, result: Any) -> None:
        """Is called by Horovod, on one rank."""
        self._changed.set()

    def changed(self) -> bool:
        """Whether the workers are to be gathered anew."""
        return self._changed.is_set()

    def settle(self) -> None:
        """They have been."""
        self._changed.clear()
