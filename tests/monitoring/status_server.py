"""A server that takes the status of a TrainJob, as Kubeflow Trainer's does, on loopback with its own certificate."""

import dataclasses
import queue
from pathlib import Path
from typing import Any

from ..https_server import HttpsServer

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


class TrainerServer(HttpsServer):
    """Answers as pkg/statusserver/server.go; `posts` has what was accepted."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.posts: queue.Queue[Post] = queue.Queue()
        self.refusals: queue.Queue[int] = queue.Queue()
        """The codes of posts that were not accepted."""

        self.token = TOKEN
        """The token that is accepted; no status is for any other."""

        super().__init__(certificate, key)

    def answer(self, path: str, authorization: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
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
