"""Workers that come and go while a job runs, under `horovodrun --min-np ... --host-discovery-script`."""

import contextlib
import http.client
import os
import re
import threading
import time

from cnn.errors import RunError

CHANGES = "changes"
"""What is asked of the launcher's server, cnn.cluster.rendezvous."""

_SERVER, _SERVER_PORT = "HOROVOD_GLOO_RENDEZVOUS_ADDR", "HOROVOD_GLOO_RENDEZVOUS_PORT"
_SECONDS_BETWEEN_QUESTIONS = 1
_SECONDS_TO_ANSWER = 5


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
        self._changed = False
        self._asking = threading.Lock()
        if is_elastic():
            threading.Thread(target=self._keep_asking, daemon=True).start()

    def changed(self) -> bool:
        """Whether the workers are to be gathered anew."""
        return self._changed

    def settle(self) -> None:
        """They have been."""
        self._ask()

    def _keep_asking(self) -> None:
        while True:
            self._ask()
            time.sleep(_SECONDS_BETWEEN_QUESTIONS)

    def _ask(self) -> None:
        """Without the launcher there is nothing to hear, and the ranks end by themselves."""
        with self._asking, contextlib.suppress(OSError, http.client.HTTPException):
            self._changed = _hosts_have_changed()


def _hosts_have_changed() -> bool:
    """Asks the launcher whether the hosts are others than when this rank was last given its place."""
    address, port = os.environ[_SERVER], os.environ[_SERVER_PORT]
    host, _, secret = address.partition("/")
    connection = http.client.HTTPConnection(host, timeout=_SECONDS_TO_ANSWER)
    try:
        connection.request("GET", f"/{secret}:{port}/{CHANGES}/any")
        return connection.getresponse().read() == b"1"
    finally:
        connection.close()
