"""The ssh key of a job without an operator, stored through a stand-in of the API server on loopback."""

import base64
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cnn.errors import RunError, UserError
from cnn.launching.job_key import make_secret, store_secret

from ..https_server import HttpsServer

OWNER = {"name": "key", "uid": "0f2a"}


class ApiServer(HttpsServer):
    """Stores Secrets of the namespace `flowers` for the token `good`."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.secrets: dict[str, Any] = {}
        super().__init__(certificate, key)

    def answer(self, path: str, authorization: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return self._store(path, authorization, body), {"message": "of the API server"}

    def _store(self, path: str, authorization: str, secret: dict[str, Any]) -> int:
        if authorization != "Bearer good":
            return 403
        if path != "/api/v1/namespaces/flowers/secrets":
            return 404
        if secret["metadata"]["name"] in self.secrets:
            return 409
        self.secrets[secret["metadata"]["name"]] = secret
        return 201


@pytest.fixture
def api(certificate: tuple[Path, Path]) -> Iterator[ApiServer]:
    with contextlib.closing(ApiServer(*certificate)) as server:
        yield server


@pytest.fixture
def account(certificate: tuple[Path, Path], tmp_path: Path) -> Path:
    (tmp_path / "namespace").write_text("flowers")
    (tmp_path / "token").write_text("good\n")
    (tmp_path / "ca.crt").write_bytes(certificate[0].read_bytes())
    return tmp_path


def _environ(api: ApiServer) -> dict[str, str]:
    return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)}


def test_a_key_is_stored_once(api: ApiServer, account: Path, tmp_path: Path) -> None:
    secret = make_secret("train-ssh", OWNER)
    assert store_secret(secret, _environ(api), account)
    assert not store_secret(make_secret("train-ssh", OWNER), _environ(api), account)
    assert api.secrets == {"train-ssh": secret}
    assert secret["metadata"]["ownerReferences"] == [{"apiVersion": "batch/v1", "kind": "Job", **OWNER}]
    data = {name: base64.b64decode(value) for name, value in secret["data"].items()}
    assert data["authorized_keys"] == data["id_rsa.pub"]
    private = tmp_path / "id_rsa"
    private.touch(0o600)
    private.write_bytes(data["id_rsa"])
    public = subprocess.run(["ssh-keygen", "-y", "-f", str(private)], capture_output=True, check=True).stdout
    assert public.split()[:2] == data["id_rsa.pub"].split()[:2]


def test_two_keys_differ() -> None:
    assert make_secret("a", OWNER)["data"]["id_rsa"] != make_secret("a", OWNER)["data"]["id_rsa"]


@pytest.mark.parametrize(
    ("file", "content", "kind", "reason"),
    [
        ("token", "other", UserError, 'may not create the Secret train-ssh ({"message": "of the API server"}): allow'),
        ("namespace", "default", RunError, "does not store the Secret train-ssh: 404"),
        ("ca.crt", None, RunError, "cannot be asked"),
        ("token", None, UserError, "this is no pod that may create the Secret train-ssh"),
    ],
)
def test_what_is_wrong_is_named(
    api: ApiServer, account: Path, file: str, content: str | None, kind: type[RunError], reason: str
) -> None:
    (account / file).unlink() if content is None else (account / file).write_text(content)
    with pytest.raises(kind) as error:
        store_secret({"metadata": {"name": "train-ssh"}}, _environ(api), account)
    assert reason in str(error.value)
    assert not api.secrets
