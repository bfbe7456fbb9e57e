"""The server from which Prometheus reads a run's numbers."""

import dataclasses
import errno
import os
import socket
import socketserver
import threading
from typing import TYPE_CHECKING, Any

from cnn.errors import UserError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_MAX_REQUESTS = 32
"""Requests answered at a time: strangers who keep connections open must not use up the files that training may open."""

_TIMEOUT_SECONDS = 10
"""Time that a client may be silent in the middle of its request."""

_POLL_SECONDS = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricsSettings:
    """Numbers of a run for Prometheus."""

    metrics_port: int | None = None
    """Serve the run's numbers on this port of rank 0's host, as text that Prometheus reads."""

    metrics_address: str = "127.0.0.1"
    """Address of rank 0's host to serve them on; others than the default let other machines read them."""

    def __post_init__(self) -> None:
        if self.metrics_port is not None and not 1 <= self.metrics_port < 2**16:
            raise UserError(f"--metrics_port {self.metrics_port} is not a port: give a number from 1024 to 65535.")


class MetricsServer(socketserver.ThreadingTCPServer):
    """Answers every GET request with all numbers, in threads that do not keep the process alive.

    Args:
        settings: the port, which is not None, and the address.
        registry: the numbers.

    Raises:
        UserError: the port is in use or privileged, or this host does not have the address.
    """

    allow_reuse_address = True  # of connections that have ended; not of another server
    daemon_threads = True

    def __init__(self, settings: MetricsSettings, registry: "CollectorRegistry") -> None:
        from prometheus_client import MetricsHandler

        handler = type("_Handler", (MetricsHandler,), {"registry": registry, "timeout": _TIMEOUT_SECONDS})
        self._room = threading.Semaphore(_MAX_REQUESTS)
        try:
            found = socket.getaddrinfo(
                settings.metrics_address, settings.metrics_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            self.address_family, _, _, _, address = found[0]
            super().__init__(address, handler)  # type: ignore[arg-type]
        except (OSError, UnicodeError) as error:
            raise UserError(_mistake(settings, error)) from error
        self._thread = threading.Thread(target=self.serve_forever, args=(_POLL_SECONDS,), daemon=True)
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts a thread that answers, or hangs up if there are too many already."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers a request."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores a client that hangs up or sends no request: the run's output is not about it."""

    def close(self) -> None:
        """Closes the port."""
        self.shutdown()
        self.server_close()


def _mistake(settings: MetricsSettings, error: Exception) -> str:
    """A sentence for the user about an address that cannot be served on."""
    host, address, port = socket.gethostname(), settings.metrics_address, settings.metrics_port
    if isinstance(error, UnicodeError | socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL:
        return (
            f"--metrics_address {address!r} is not an address of {host}: give 127.0.0.1, or 0.0.0.0 for all of its "
            "addresses."
        )
    if isinstance(error, PermissionError):
        return f"--metrics_port {port} is reserved for root on {host}: give a number from 1024 to 65535."
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return f"--metrics_port {port} is in use on {host}: end the program that uses it, or give another port."
    reason = os.strerror(number) if number else str(error)
    return f"--metrics_port {port} cannot be opened on {address} of {host} ({reason}): give another port or address."
