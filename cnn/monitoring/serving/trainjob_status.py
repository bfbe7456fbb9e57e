"""A run's progress in the status of its TrainJob: Kubeflow Trainer, since v2.2, shows what is posted to its server.

The server and what it accepts: pkg/statusserver and `UpdateTrainJobStatusRequest` of kubeflow/trainer, and
docs/user-guides/trainjob-progress.md there. The Trainer sets the variables if its feature TrainJobStatus is enabled.
"""

import contextlib
import dataclasses
import datetime
import http.client
import json
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cnn.errors import UserError

URL, CA_CERTIFICATE, TOKEN = (f"KUBEFLOW_TRAINER_SERVER_{name}" for name in ("URL", "CA_CERT", "TOKEN"))
"""Environment variables: the address to post to, and the files with the server's certificate and with the token."""

_SECONDS_BETWEEN_POSTS = 10.0
"""The Trainer asks for five or more."""

_TIMEOUT_SECONDS = 5.0
_MAX_ANSWER_BYTES = 2**16
_REFUSED = (401, 403)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatusServer:
    """Where to post a TrainJob's status."""

    host: str
    port: int
    path: str
    ca_certificate: Path
    """File with the certificate of the authority that has signed the server's."""

    token: Path
    """File with the token, which is replaced before it expires, within an hour."""

    def post(self, status: Mapping[str, Any]) -> str:
        """Posts a status; returns why it was not accepted, empty if it was."""
        body = json.dumps({"trainerStatus": status})
        try:
            headers = {"Authorization": f"Bearer {self.token.read_text().strip()}", "Content-Type": "application/json"}
            context = ssl.create_default_context(cafile=self.ca_certificate)
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=_TIMEOUT_SECONDS, context=context)
            with contextlib.closing(connection):
                connection.request("POST", self.path, body, headers)
                answer = connection.getresponse()
                text = answer.read(_MAX_ANSWER_BYTES)
        except (OSError, ValueError, http.client.HTTPException) as error:
            return f"{self.host}:{self.port} cannot be asked ({error or type(error).__name__})"
        if answer.status == http.HTTPStatus.OK:
            return ""
        if answer.status in _REFUSED:
            return f"{self.host}:{self.port} refuses the token in {self.token}, which may have expired"
        return f"{self.host}:{self.port} answers {answer.status} ({_message(text) or answer.reason})"


def _message(answer: bytes) -> str:
    """The message in a server's answer; empty if there is none."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(answer)["message"])
    return ""


def status_server(environ: Mapping[str, str]) -> StatusServer | None:
    """The server that the environment variables name; None without them.

    Raises:
        UserError: only some of them are set, or the address does not begin with https://, so that everyone on the way
            could read the token.
    """
    found = {name: environ.get(name, "") for name in (URL, CA_CERTIFICATE, TOKEN)}
    if not any(found.values()):
        return None
    missing = [name for name, value in found.items() if not value]
    if missing:
        raise UserError(
            f"of the Trainer's variables {', '.join(found)}, some are set, but not {' and '.join(missing)}: set all or "
            "none of them."
        )
    try:
        url = urllib.parse.urlsplit(found[URL])
        port = url.port or http.client.HTTPS_PORT
    except ValueError:
        url, port = urllib.parse.urlsplit(""), 0
    if url.scheme != "https" or not url.hostname:
        raise UserError(f"{URL} is {found[URL]}: it must be an address that begins with https://.")
    return StatusServer(
        host=url.hostname,
        port=port,
        path=url.path or "/",
        ca_certificate=Path(found[CA_CERTIFICATE]),
        token=Path(found[TOKEN]),
    )


class TrainJobStatus:
    """Posts a run's progress in a thread, so that training waits for no answer. Is a `NumbersReceiver`.

    Args:
        server: where to post.
        warn: called the first time that a status is not accepted, with a sentence that says why; later ones are posted
            nevertheless.
        interval: seconds between posts.
        clock: a clock in seconds, from any origin.
    """

    def __init__(
        self,
        server: StatusServer,
        warn: Callable[[str], None],
        interval: float = _SECONDS_BETWEEN_POSTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server, self._warn, self._interval, self._clock = server, warn, interval, clock
        self._lock = threading.Lock()
        self._metrics: dict[str, str] = {}
        self._step = self._last_step = 0
        self._steps_per_epoch = 1
        self._first: tuple[int, float] | None = None  # the step and time since which the speed is measured
        self._remaining: int | None = None
        self._news, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep_posting, daemon=True)
        self._thread.start()

    def begin(self, folder: str, step: int, last_step: int, steps_per_epoch: int) -> None:
        """As `NumbersReceiver`."""
        with self._lock:
            self._last_step, self._steps_per_epoch = last_step, steps_per_epoch
        self._set_step(step)

    def progress(self, step: int, taken: int, samples: int, samples_per_second: float | None) -> None:
        """As `NumbersReceiver`. The first call's time includes compilation, and is not used to estimate the rest."""
        now = self._clock()
        with self._lock:
            if self._first is None:
                self._first = step, now
            first_step, first_time = self._first
            if step > first_step:
                self._remaining = round((now - first_time) / (step - first_step) * (self._last_step - step))
            if samples_per_second is not None:
                self._metrics["images_per_second"] = f"{samples_per_second:.6g}"
        self._set_step(step)

    def learning_rate(self, rate: float) -> None:
        """As `NumbersReceiver`."""
        self._set_metrics({"learning_rate": rate})

    def means(self, part: str, means: Mapping[str, float]) -> None:
        """As `NumbersReceiver`."""
        self._set_metrics({f"{part}_{name}": mean for name, mean in means.items()})

    def times(self, parts: Mapping[str, float], activities: Mapping[str, float], goodput: float) -> None:
        """As `NumbersReceiver`. The parts are left out."""
        self._set_metrics({"goodput": goodput})

    def limit(self, cause: str) -> None:
        """As `NumbersReceiver`."""
        with self._lock:
            self._metrics["limited_by"] = cause

    def close(self) -> None:
        """Posts the last status, and waits for the answer, but not for long."""
        self._closed.set()
        self._news.set()
        self._thread.join(_TIMEOUT_SECONDS)

    def _set_step(self, step: int) -> None:
        with self._lock:
            self._step = step
        self._set_metrics({"step": step, "epoch": step / self._steps_per_epoch})

    def _set_metrics(self, values: Mapping[str, float]) -> None:
        with self._lock:
            for name, value in values.items():
                self._metrics[name] = str(value) if isinstance(value, int) else f"{value:.6g}"
        self._news.set()

    def _status(self) -> dict[str, Any]:
        with self._lock:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            status = {
                "progressPercentage": 100 * self._step // max(self._last_step, 1),
                "metrics": [{"name": name, "value": value} for name, value in self._metrics.items()],
                "lastUpdatedTime": now,
            }
            return status if self._remaining is None else {**status, "estimatedRemainingSeconds": self._remaining}

    def _keep_posting(self) -> None:
        has_warned = False
        while not self._closed.is_set():
            self._news.wait()
            self._news.clear()
            fault = self._post()
            if fault and not has_warned:
                self._warn(f"the TrainJob's status is not updated: {fault}. Training continues.")
                has_warned = True
            self._closed.wait(self._interval)
        if self._news.is_set():
            self._post()

    def _post(self) -> str:
        """As `StatusServer.post`; posts nothing of a run that has not begun, whose earlier status then remains."""
        return self._server.post(self._status()) if self._last_step else ""
