"""A server that takes the status of a TrainJob, as Kubeflow Trainer's does, on loopback with its own certificate."""

import dataclasses
import http.server
import json
import queue
import shutil
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

PATH = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/default/trainjobs/train/status"
TOKEN = "header.payload.signature"
SECONDS = 30
"""No test waits longer for a post."""


@dataclasses.dataclass(frozen=True)
class Post:
    """What was posted."""

    path: str
    authorization: str
    status: dict[str, Any]

    @property
    def metrics(self) -> dict[str, str]:
        return {each["name"]: each["value"] for each in self.status["metrics"]}


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that has signed itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on PATH, which makes the server's certificate")
    certificate, key = folder / "ca.crt", folder / "tls.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=trainer"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


class TrainerServer:
    """Answers as pkg/statusserver/server.go; `posts` has what was accepted."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.posts: queue.Queue[Post] = queue.Queue()
        self.refusals: queue.Queue[int] = queue.Queue()
        """The codes of posts that were not accepted."""

        self.token = TOKEN
        """The token that is accepted; no status is for any other."""

        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                code, answer = server.answer(self.path, self.headers["Authorization"], json.loads(body))
                content = json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.port = int(self._server.server_address[1])

    def answer(self, path: str, authorization: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The code and content of the answer to a post."""
        if path != PATH:
            self.refusals.put(404)
            return 404, {"status": "Failure", "message": "Not found", "code": 404}
        if authorization != f"Bearer {self.token}":
            self.refusals.put(403)
            return 403, {"status": "Failure", "message": "Forbidden", "code": 403}
        self.posts.put(Post(path, authorization, body["trainerStatus"]))
        return 200, body

    def next(self) -> Post:
        """The next post that is accepted."""
        return self.posts.get(timeout=SECONDS)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
