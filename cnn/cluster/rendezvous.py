"""Where the ranks of a job over Gloo find each other, for those alone who know the secret of the job.

Horovod's server listens on all addresses and believes everyone; that of an elastic job unpickles what it is sent, which
runs whatever a stranger likes (CVE-2024-10190), and so do the servers that elastic workers open to be told of changes.
This one listens on one address, hangs up on whoever does not begin with the secret, and takes what it is sent for
bytes. Workers ask it for changes, and listen nowhere.

The secret is a part of the path of each request. Horovod's C++ code, which makes them, joins its URLs of the address
that it is given, a port, and what it asks for; so `ADDRESS:PORT/SECRET` as the address becomes
`http://ADDRESS:PORT/SECRET:PORT/SCOPE/KEY`.
"""

import hmac
import socket
import socketserver
import sys
from typing import Any

from horovod.runner.http.http_server import KVStoreHandler, RendezvousHandler, RendezvousHTTPServer, RendezvousServer
from horovod.runner.util.threads import in_thread

from cnn.cluster.elastic import CHANGES

_MAX_WAITING = 1024
"""Connections that wait to be accepted: all ranks may come at once."""

_BEGINNING = 256
"""Bytes; more than a method and the secret have."""


def address_with_secret(address: str, port: int, secret: str) -> str:
    """What Horovod is to take for the server's address."""
    return f"{address}:{port}/{secret}"


class _Server(RendezvousHTTPServer):
    """Serves each connection by a thread."""

    daemon_threads = True
    request_queue_size = _MAX_WAITING
    changed = False
    """Whether the hosts are others than when ranks were last assigned to them."""

    def __init__(self, address: str, handler: type, secret: str, verbose: int) -> None:
        super().__init__((address, 0), handler, verbose)
        self.prefix = f"/{secret}:{self.server_address[1]}"

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks for the name of the address, maybe for seconds

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # who hangs up is no news
            super().handle_error(request, client_address)


class _Guarded(KVStoreHandler):
    """Answers those who know the secret, and on no others spends more than one look."""

    def handle(self) -> None:
        if self._begins_with_the_secret():
            super().handle()

    def _begins_with_the_secret(self) -> bool:
        try:
            words = self.connection.recv(_BEGINNING, socket.MSG_PEEK).split(b" ", 2)
        except OSError:  # too slow, or gone
            return False
        prefix = self.server.prefix.encode()
        return len(words) > 1 and hmac.compare_digest(words[1][: len(prefix)], prefix)

    def parse_request(self) -> bool:
        """Leaves of the path what Horovod's own handlers know."""
        if not super().parse_request():
            return False
        self.path: str = self.path.removeprefix(self.server.prefix)
        return self.command in ("GET", "PUT", "DELETE") and self.path.count("/") == 2

    def _get_value(self, scope: str, key: str) -> bytes | None:
        if scope == CHANGES:
            return str(int(self.server.changed)).encode()
        value: bytes | None = super()._get_value(scope, key)
        return value

    def _put_value(self, scope: str, key: str, value: bytes) -> None:
        KVStoreHandler._put_value(self, scope, key, value)  # not that of elastic jobs, which unpickles


class Rendezvous(RendezvousServer):
    """In place of Horovod's RendezvousServer."""

    def __init__(self, address: str, secret: str, verbose: int = 0) -> None:
        super().__init__(verbose)
        self._address, self._secret = address, secret

    def start(self, handler_cls: type = RendezvousHandler) -> int:
        """Listens from now on; gives the port."""
        handler = type("Handler", (_Guarded, handler_cls), {})
        self._httpd = _Server(self._address, handler, self._secret, self._verbose)
        self._listen_thread = in_thread(target=self._httpd.serve_forever)
        return int(self._httpd.server_address[1])

    def init(self, host_alloc_plan: Any) -> None:
        """Begins with ranks that were assigned anew."""
        super().init(host_alloc_plan)
        self._httpd.changed = False

    def notify_hosts_updated(self, timestamp: int, update_res: Any) -> None:
        """What Horovod's driver would tell a worker of."""
        self._httpd.changed = True
