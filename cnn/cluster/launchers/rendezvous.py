"""The rendezvous server of a job over Gloo, which serves only clients that know the job's secret.

Horovod's server listens on all addresses and trusts every client. That of an elastic job unpickles what it receives, so
that anyone can execute code (CVE-2024-10190); so do the servers by which elastic workers are notified of host changes.
This server listens on a single address, disconnects clients whose request does not begin with the secret, and treats
what it receives as bytes. Workers poll it for host changes, and do not listen at all.

The secret is part of the path of each request. Horovod's C++ code, which sends the requests, composes a URL from the
configured address, the port, the scope and the key; so the address `ADDRESS:PORT/SECRET` results in
`http://ADDRESS:PORT/SECRET:PORT/SCOPE/KEY`.
"""

import hmac
import math
import socket
import socketserver
import sys
import time
from typing import Any

from horovod.runner.http.http_server import KVStoreHandler, RendezvousHandler, RendezvousHTTPServer, RendezvousServer
from horovod.runner.util.threads import in_thread

from cnn.cluster.launchers.elastic import CHANGED, CHANGES, STOP, UNCHANGED

_BACKLOG = 1024
"""Connections that may wait to be accepted: all ranks may connect at the same time."""

_PREFIX_BYTES = 256
"""More than the length of a method and the secret."""

_SILENT_SECONDS = 5.0
"""Time after which a worker that has not polled has ended: they poll every second."""

_CHECK_SECONDS = 0.2


def address_with_secret(address: str, port: int, secret: str) -> str:
    """The address to configure in Horovod, so that the secret becomes part of the URL."""
    return f"{address}:{port}/{secret}"


class _Server(RendezvousHTTPServer):
    """Serves each connection in a separate thread."""

    daemon_threads = True
    request_queue_size = _BACKLOG
    news = UNCHANGED
    """What a worker hears when it polls."""

    polled = -math.inf
    """When a worker last polled, by time.monotonic."""

    def __init__(self, address: str, handler: type, secret: str, verbose: int) -> None:
        super().__init__((address, 0), handler, verbose)
        self.prefix = f"/{secret}:{self.server_address[1]}"

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # not HTTPServer's, whose reverse DNS lookup can take seconds

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that disconnects is not worth a message
            super().handle_error(request, client_address)


class _Guarded(KVStoreHandler):
    """Serves clients that know the secret; disconnects others after a single read."""

    def handle(self) -> None:
        if self._has_secret():
            super().handle()

    def _has_secret(self) -> bool:
        try:
            words = self.connection.recv(_PREFIX_BYTES, socket.MSG_PEEK).split(b" ", 2)
        except OSError:  # timed out or disconnected
            return False
        prefix = self.server.prefix.encode()
        return len(words) > 1 and hmac.compare_digest(words[1][: len(prefix)], prefix)

    def parse_request(self) -> bool:
        """Removes the secret from the path, for Horovod's own handlers."""
        if not super().parse_request():
            return False
        self.path: str = self.path.removeprefix(self.server.prefix)
        return self.command in ("GET", "PUT", "DELETE") and self.path.count("/") == 2

    def _get_value(self, scope: str, key: str) -> bytes | None:
        if scope == CHANGES:
            self.server.polled = time.monotonic()
            return bytes(self.server.news)
        value: bytes | None = super()._get_value(scope, key)
        return value

    def _put_value(self, scope: str, key: str, value: bytes) -> None:
        KVStoreHandler._put_value(self, scope, key, value)  # not the method for elastic jobs, which unpickles


class Rendezvous(RendezvousServer):
    """Replaces Horovod's RendezvousServer."""

    def __init__(self, address: str, secret: str, verbose: int = 0) -> None:
        super().__init__(verbose)
        self._address, self._secret = address, secret

    def start(self, handler_cls: type = RendezvousHandler) -> int:
        """Starts listening; returns the port."""
        handler = type("Handler", (_Guarded, handler_cls), {})
        self._httpd = _Server(self._address, handler, self._secret, self._verbose)
        self._listen_thread = in_thread(target=self._httpd.serve_forever)
        return int(self._httpd.server_address[1])

    def init(self, host_alloc_plan: Any) -> None:
        """Publishes a new assignment of ranks."""
        super().init(host_alloc_plan)
        if self._httpd.news != STOP:
            self._httpd.news = UNCHANGED

    def notify_hosts_updated(self, timestamp: int, update_res: Any) -> None:
        """Called by Horovod's driver, in place of a worker's client, when hosts have changed."""
        if self._httpd.news != STOP:
            self._httpd.news = CHANGED

    def stop_ranks(self) -> None:
        """Asks the workers to save and stop, and waits until none has polled for some time, as none is left."""
        self._httpd.news = STOP
        while time.monotonic() - self._httpd.polled < _SILENT_SECONDS:
            time.sleep(_CHECK_SECONDS)
