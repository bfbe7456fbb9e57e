"""Makes the ssh key of a job in pods, and stores it as a Secret: `python -m cnn.launching.job_key train-ssh`.

For Kubernetes without an operator that would make one. It runs in a pod that may create Secrets. If the Secret exists,
it stays as it is. It belongs to the Job that made it, and is deleted with it.
"""

import argparse
import base64
import contextlib
import http.client
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn.errors import RunError, UserError, report_errors

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod has its namespace, its token and the API server's certificate."""

_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
_JOB_NAME, _JOB_UID = "JOB_NAME", "JOB_UID"
_TIMEOUT_SECONDS = 30
_MAX_ANSWER_BYTES = 2**16


def make_secret(name: str, owner: Mapping[str, str]) -> dict[str, Any]:
    """A Secret with a new key pair, whose files are those of an .ssh folder.

    Args:
        name: the Secret's name.
        owner: name and uid of the Job to which it belongs.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "id_rsa"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "521", "-N", "", "-C", "cnn", "-f", str(path)], check=True
        )
        private, public = path.read_bytes(), path.with_name("id_rsa.pub").read_bytes()
    files = {"id_rsa": private, "id_rsa.pub": public, "authorized_keys": public}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", **owner}]},
        "immutable": True,
        "data": {file: base64.b64encode(content).decode() for file, content in files.items()},
    }


def store_secret(secret: Mapping[str, Any], environ: Mapping[str, str], account: Path) -> bool:
    """Stores a Secret in the pod's namespace; returns False if there is one of its name.

    Args:
        secret: the Secret.
        environ: the pod's environment, which names the API server.
        account: the folder with the pod's namespace, token and certificate.

    Raises:
        UserError: this is no pod with an account, or the account may not create Secrets.
        RunError: the API server does not answer, or answers something else.
    """
    name = secret["metadata"]["name"]
    try:
        namespace, token = ((account / file).read_text().strip() for file in ("namespace", "token"))
        host, port = environ[_HOST], int(environ[_PORT])
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"this is no pod that may create the Secret {name} ({error}): run it in one.") from error
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        context = ssl.create_default_context(cafile=account / "ca.crt")
        connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_SECONDS, context=context)
        with contextlib.closing(connection):
            connection.request("POST", f"/api/v1/namespaces/{namespace}/secrets", json.dumps(secret), headers)
            answer = connection.getresponse()
            reason = answer.read(_MAX_ANSWER_BYTES).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise RunError(f"the API server {host}:{port} cannot be asked ({error}): check the network.") from error
    if answer.status == http.HTTPStatus.CONFLICT:
        return False
    if answer.status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        raise UserError(f"this pod may not create the Secret {name} ({reason}): allow its account to create Secrets.")
    if answer.status != http.HTTPStatus.CREATED:
        raise RunError(f"the API server {host}:{port} does not store the Secret {name}: {answer.status}, {reason}")
    return True


def main() -> None:
    """Makes and stores the key."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="name of the Secret")
    name = parser.parse_args().name
    missing = [variable for variable in (_JOB_NAME, _JOB_UID) if not os.environ.get(variable)]
    if missing:
        raise UserError(f"{' and '.join(missing)} must name the Job that the Secret belongs to: set them.")
    owner = {"name": os.environ[_JOB_NAME], "uid": os.environ[_JOB_UID]}
    is_new = store_secret(make_secret(name, owner), os.environ, _ACCOUNT)
    print(f"the Secret {name} {'has a new key' if is_new else 'exists already'}")


if __name__ == "__main__":
    with report_errors():
        main()
