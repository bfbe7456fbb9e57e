"""Elastic jobs: workers join and leave during the run, under `horovodrun --min-np ... --host-discovery-script`."""

import contextlib
import http.client
import os
import re
import threading
import time

from cnn.errors import RunError

CHANGES = "changes"
"""The scope of the key that the launcher's server, cnn.cluster.rendezvous, answers with 1 when hosts have changed."""

_SERVER, _SERVER_PORT = "HOROVOD_GLOO_RENDEZVOUS_ADDR", "HOROVOD_GLOO_RENDEZVOUS_PORT"
_POLL_SECONDS = 1
_TIMEOUT_SECONDS = 5


class WorkersChangedError(RunError):
    """The job continues with other workers from the last committed state; raised on each remaining worker."""


def is_elastic() -> bool:
    """Whether the launcher replaces lost workers and admits new ones."""
    return os.environ.get("HOROVOD_ELASTIC") == "1"


def is_lost_peer_error(error: BaseException) -> bool:
    """Whether an error was caused by the loss of another rank.

    Horovod reports the loss by its own exception or by TensorFlow errors of several classes; only their text
    distinguishes them from other errors of the same classes.
    """
    import tensorflow as tf
    from horovod.common.exceptions import HorovodInternalError

    if isinstance(error, HorovodInternalError):
        return True
    return isinstance(error, tf.errors.OpError | RuntimeError) and bool(re.search(r"Horovod|/gloo/", str(error)))


class Membership:
    """Polls the launcher for changes of the job's hosts."""

    def __init__(self) -> None:
        self._changed = False
        self._polling = threading.Lock()
        if is_elastic():
            threading.Thread(target=self._keep_polling, daemon=True).start()

    def changed(self) -> bool:
        """Whether the hosts have changed since this rank was last assigned its place, so that all must rejoin."""
        return self._changed

    def refresh(self) -> None:
        """Polls immediately, after the workers have rejoined."""
        self._poll()

    def _keep_polling(self) -> None:
        while True:
            self._poll()
            time.sleep(_POLL_SECONDS)

    def _poll(self) -> None:
        """Ignores a launcher that does not answer: once it has gone, the ranks end anyway."""
        with self._polling, contextlib.suppress(OSError, http.client.HTTPException):
            self._changed = _hosts_have_changed()


def _hosts_have_changed() -> bool:
    """Asks the launcher whether the hosts have changed since it last assigned ranks."""
    address, port = os.environ[_SERVER], os.environ[_SERVER_PORT]
    host, _, secret = address.partition("/")
    connection = http.client.HTTPConnection(host, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", f"/{secret}:{port}/{CHANGES}/any")
        return connection.getresponse().read() == b"1"
    finally:
        connection.close()
