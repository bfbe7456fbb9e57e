"""Elastic jobs: workers join and leave during the run, under `horovodrun --min-np ... --host-discovery-script`."""

import contextlib
import http.client
import os
import re
import threading
import time

from cnn.errors import RunError

CHANGES = "changes"
"""The scope of the key that the launcher's server (see rendezvous.py) answers with one of the following."""

UNCHANGED, CHANGED, STOP = b"0", b"1", b"2"
"""Nothing is new; hosts have changed; the launcher has been asked to end, so all ranks are to save and stop."""

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
    """Polls the launcher for changes of the job's hosts, and for its request to stop."""

    def __init__(self) -> None:
        self._answer = UNCHANGED
        self._polling = threading.Lock()
        if is_elastic():
            threading.Thread(target=self._keep_polling, daemon=True).start()

    def changed(self) -> bool:
        """Whether the hosts have changed since this rank was last assigned its place, so that all must rejoin."""
        return self._answer == CHANGED

    def stop_requested(self) -> bool:
        """Whether the launcher has been asked to end."""
        return self._answer == STOP

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
            self._answer = _ask_launcher()


def _ask_launcher() -> bytes:
    """Asks the launcher what is new since it last assigned ranks."""
    address, port = os.environ[_SERVER], os.environ[_SERVER_PORT]
    host, _, secret = address.partition("/")
    connection = http.client.HTTPConnection(host, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", f"/{secret}:{port}/{CHANGES}/any")
        return connection.getresponse().read()
    finally:
        connection.close()
