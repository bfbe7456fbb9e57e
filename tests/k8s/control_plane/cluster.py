"""A Kubernetes cluster on this machine, and namespaces in it in which manifests are applied as a user does."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.k8s.rendering import Manifest

_SCRIPT = Path(__file__).with_name("cluster.sh")
_SECONDS = 600
"""Nothing in these tests may take longer."""

_CLAIMS = ("cnn-data", "cnn-runs")
_PAUSE_IMAGE = "localhost/pause:1"


class Cluster:
    """etcd, API server, controllers and scheduler, and a node if it was started."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="cnn-kube-"))  # short, as it is in paths of sockets
        self.folder.chmod(0o755)
        # Its input ends when it is closed, or when this process does, in whatever way.
        self._end = subprocess.Popen(
            ["sh", "-c", 'cat; bash "$1" down "$2" && rm -rf --one-file-system "$2"', "sh", _SCRIPT, self.folder],
            env=self.environment, stdin=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def start(self) -> None:
        """Starts the control plane."""
        self._run("up")

    def start_node(self, *images: str) -> None:
        """Adds a node with images of Docker's."""
        self._run("node")
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "pause.tar"
            with tarfile.open(archive, "w") as file:
                file.add(self._programs / "pause", "pause")
            change = ("--change", 'ENTRYPOINT ["/pause"]')
            subprocess.run(["docker", "import", *change, str(archive), _PAUSE_IMAGE], check=True, capture_output=True)
        socket = self.folder / "containerd.sock"
        command = ["ctr", "--address", str(socket), "-n", "k8s.io", "images", "import", "-"]
        with subprocess.Popen(["docker", "save", _PAUSE_IMAGE, *images], stdout=subprocess.PIPE) as saved:
            subprocess.run(command, stdin=saved.stdout, check=True, capture_output=True)
        assert saved.returncode == 0

    def close(self) -> None:
        """Ends all of it, pods included, and removes its files."""
        self._end.communicate(timeout=_SECONDS)
        assert self._end.returncode == 0

    def command(self, *arguments: str) -> list[str]:
        """What runs kubectl; `environment` belongs to it."""
        return ["bash", str(_SCRIPT), "kubectl", str(self.folder), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "BIN": str(self._programs)}

    def kubectl(self, *arguments: str, given: str = "") -> str:
        """What kubectl prints; AssertionError with its message if it fails."""
        code, said = self.try_kubectl(*arguments, given=given)
        assert code == 0, f"kubectl {' '.join(arguments)}: {said}"
        return said

    def try_kubectl(self, *arguments: str, given: str = "") -> tuple[int, str]:
        """kubectl's exit code, and what it prints, or its message if it fails."""
        done = subprocess.run(
            self.command(*arguments), env=self.environment, input=given, capture_output=True, text=True, check=False,
            timeout=_SECONDS,
        )  # fmt: skip
        return done.returncode, done.stderr if done.returncode else done.stdout

    def await_condition(self, *arguments: str) -> None:
        """As `kubectl wait`, which fails at once for objects so new that they have no status."""
        deadline = time.monotonic() + _SECONDS
        while True:
            code, said = self.try_kubectl("wait", "--timeout=60s", *arguments)
            if code == 0:
                return
            assert time.monotonic() < deadline, said

    def make(self, manifests: Sequence[Manifest], *arguments: str) -> str:
        """Makes objects, or changes them to be as in manifests."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        return self.kubectl(
            "apply", "--server-side", "--force-conflicts", *arguments, "-f", "-", given=json.dumps(items)
        )

    def _run(self, what: str) -> None:
        # To files, as what it starts in the background would keep a pipe open.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                ["bash", str(_SCRIPT), what, str(self.folder)],
                env=self.environment, stdout=output, stderr=output, check=False, timeout=_SECONDS,
            )  # fmt: skip
            output.seek(0)
            assert done.returncode == 0, output.read()

    @contextlib.contextmanager
    def namespace(self, name: str) -> Iterator["Namespace"]:
        """A namespace that admits restricted pods alone, with volumes for both claims; it ends with its pods."""
        space = Namespace(self, name)
        try:
            yield space
        finally:
            space.close()


class Namespace:
    """A namespace of a cluster, and the pods in it."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster, self.name = cluster, name
        self._volumes = cluster.folder / "volumes" / name
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        cluster.make([manifest, *(self._volume(claim) for claim in _CLAIMS)])
        self._ends = (cluster.folder / f"{name}-ends.txt").open("w+")
        shown = '{.metadata.name}{" "}{.status.containerStatuses[0].state.terminated.exitCode}{"\\n"}'
        command = cluster.command("--namespace", name, "get", "pods", "--watch", "-o", f"jsonpath={shown}")
        self._watch = subprocess.Popen(command, env=cluster.environment, stdout=self._ends, start_new_session=True)

    def _volume(self, claim: str) -> Manifest:
        """A volume in a folder of this machine. Of kind local: the groups of pods are not applied to hostPath."""
        folder = self._volumes / claim
        folder.mkdir(parents=True)
        node = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node"]}
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{self.name}-{claim}"},
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "capacity": {"storage": "50Gi"},
                "claimRef": {"namespace": self.name, "name": claim},
                "local": {"path": str(folder)},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [node]}]}},
            },
        }

    def close(self) -> None:
        os.killpg(self._watch.pid, signal.SIGTERM)
        self._watch.wait()
        self._ends.close()
        self.kubectl("delete", "deployments,jobs", "--all", "--cascade=foreground")
        self.kubectl("delete", "pods", "--all")
        self._cluster.kubectl("delete", "namespace", self.name)
        self._cluster.kubectl("delete", "persistentvolume", *(f"{self.name}-{claim}" for claim in _CLAIMS))
        shutil.rmtree(self._volumes)

    def kubectl(self, *arguments: str, given: str = "") -> str:
        return self._cluster.kubectl("--namespace", self.name, *arguments, given=given)

    def try_kubectl(self, *arguments: str) -> tuple[int, str]:
        return self._cluster.try_kubectl("--namespace", self.name, *arguments)

    def make(self, manifests: Sequence[Manifest]) -> None:
        self._cluster.make(manifests, "--namespace", self.name)

    def get(self, kind: str, name: str) -> Manifest:
        return dict(json.loads(self.kubectl("get", kind, name, "-o", "json")))

    def pods(self, role: str) -> list[str]:
        """Names of the pods of a component that were not told to end."""
        selector = f"app.kubernetes.io/component={role}"
        items = json.loads(self.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
        return sorted(item["metadata"]["name"] for item in items if "deletionTimestamp" not in item["metadata"])

    def exit_codes(self) -> dict[str, int]:
        """The exit code of each pod that has ended, also of those that are gone."""
        lines = (self._cluster.folder / f"{self.name}-ends.txt").read_text().splitlines()
        return {name: int(code) for name, _, code in (line.partition(" ") for line in lines) if code}

    def said(self) -> str:
        """What to look at when a test fails: objects, events, and the last lines of each pod."""
        shown = [self.try_kubectl("get", "jobs,pods", "-o", "wide")[1], self.try_kubectl("get", "events")[1]]
        for pod in self.try_kubectl("get", "pods", "-o", "name")[1].split():
            shown += [pod, self.try_kubectl("logs", "--tail=30", pod)[1]]
        return "\n".join(shown)

    def wait_for(self, what: str, happened: Callable[[], Any]) -> Any:
        """Until something is true, which is looked at each second; gives what is true."""
        deadline = time.monotonic() + _SECONDS
        while not (value := happened()):
            assert time.monotonic() < deadline, f"never {what}:\n{self.said()}"
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._watch.wait(timeout=1)
                raise AssertionError("kubectl no longer watches the pods")
        return value

    @property
    def runs(self) -> Path:
        """The folder of the claim cnn-runs."""
        return self._volumes / "cnn-runs"

    def await_codes(self, pods: Sequence[str]) -> set[int]:
        """The exit codes of pods that were asked to end."""
        self.wait_for(f"ended: {', '.join(pods)}", lambda: self.exit_codes().keys() >= set(pods))
        return {code for pod, code in self.exit_codes().items() if pod in pods}
