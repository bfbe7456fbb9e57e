"""Starts pods as Docker containers: what the kubelet would make of their specification, on one machine.

What it does: image, command, variables, user and groups, dropped capabilities, no new privileges, the default seccomp
profile, a read-only root, limits, names on a network without a way out, ConfigMaps and Secrets with their modes, claims
and empty folders, the grace period. What it cannot: schedule, probe, restart, admit.
"""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.k8s.mpi_operator import Pod
from tests.k8s.rendering import Manifest

_SECONDS = 180
"""No container of these tests may run longer."""

_API_SERVER = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
"""Variables that every container gets, even without service links."""

_UNITS = {"": 1, "m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def docker(*arguments: str, seconds: float = _SECONDS) -> str:
    """Runs `docker ARGUMENTS`; gives what it prints."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=seconds)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


def quantity(text: str | int) -> float:
    """A Kubernetes quantity as a number."""
    match = re.fullmatch(r"([0-9.]+)(m|Ki|Mi|Gi)?", str(text))
    assert match, f"{text} is no quantity"
    return float(match[1]) * _UNITS[match[2] or ""]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Container:
    """A started pod."""

    name: str
    grace: int

    def wait(self, seconds: float = _SECONDS) -> tuple[int, str]:
        """Its exit code and all that it said."""
        code = int(docker("wait", self.name, seconds=seconds))
        return code, self.logs()

    def runs(self) -> bool:
        return docker("inspect", "--format", "{{.State.Running}}", self.name) == "true"

    def logs(self) -> str:
        done = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    def await_line(self, pattern: str) -> str:
        """Waits until it says a line that contains a pattern; AssertionError when it ends without."""
        follow = subprocess.Popen(
            ["timeout", str(_SECONDS), "docker", "logs", "--follow", self.name],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        with follow:
            assert follow.stdout is not None
            for line in follow.stdout:
                if re.search(pattern, line):
                    follow.terminate()
                    return line
        raise AssertionError(f"{self.name} never said {pattern}:\n{self.logs()}")

    def stop(self) -> None:
        """As a node that is drained: SIGTERM, and SIGKILL after the grace period."""
        docker("stop", "--time", str(self.grace), self.name)

    def kill(self) -> None:
        docker("kill", self.name)

    def execute(self, *command: str) -> str:
        return docker("exec", self.name, *command)

    def remove(self) -> None:
        docker("rm", "--force", self.name)


class Pods:
    """A namespace with its network, claims, ConfigMaps and Secrets, whose pods are containers."""

    namespace = "default"

    def __init__(self, folder: Path, image: str) -> None:
        self._folder, self.image = folder, image
        self._id = f"cnn-test-{uuid.uuid4().hex[:8]}"
        self._folders: dict[tuple[str, str], list[Path]] = {}
        self._claims: dict[str, str] = {}
        self.objects: dict[tuple[str, str], Mapping[str, str]] = {}
        """What ConfigMaps and Secrets hold, by kind and name."""

        docker("network", "create", "--internal", self._id)

    def close(self) -> None:
        names = docker("ps", "--all", "--quiet", "--filter", f"network={self._id}").split()
        if names:
            docker("rm", "--force", *names)
        docker("network", "rm", self._id)
        shutil.rmtree(self._folder)

    def claim(self, name: str) -> Path:
        """The folder of a PersistentVolumeClaim, which belongs to fsGroup."""
        path = self._folder / "claims" / name
        if not path.exists():
            path.mkdir(parents=True)
            os.chown(path, 0, 1000)
            path.chmod(0o2775)
        return path

    def small_claim(self, name: str, kilobytes: int) -> None:
        """Makes a claim one that is soon full."""
        self._claims[name] = f"size={kilobytes}k"

    def update(self, kind: str, name: str, content: Mapping[str, str]) -> None:
        """Changes a ConfigMap or Secret, in the pods that run, too."""
        self.objects[kind, name] = content
        for folder in self._folders.get((kind, name), []):
            for key, text in content.items():
                if (folder / key).exists():
                    (folder / key).write_text(text)

    def start(self, pod: Pod, **variables: str) -> Container:
        """Starts a pod of one container; `variables` are added to its environment."""
        container, spec = pod.container, pod.spec
        context = {**spec.get("securityContext", {}), **container.get("securityContext", {})}
        name = f"{self._id}-{pod.name}-{uuid.uuid4().hex[:4]}"
        command = [
            "run",
            "--detach",
            "--name",
            name,
            "--network",
            self._id,
            "--hostname",
            spec.get("hostname", pod.name),
        ]
        if "subdomain" in spec:
            short = f"{spec['hostname']}.{spec['subdomain']}"
            for alias in (short, f"{short}.{self.namespace}.svc", f"{short}.{self.namespace}.svc.cluster.local"):
                command += ["--network-alias", alias]
        for domain in spec.get("dnsConfig", {}).get("searches", []):
            command += ["--dns-search", domain]
        command += _security(context)
        limits = container["resources"]["limits"]
        command += ["--cpus", str(min(quantity(limits["cpu"]), os.cpu_count() or 1))]
        command += ["--memory", str(int(quantity(limits["memory"])))]
        own = {each["name"]: each["value"] for each in container.get("env", [])}
        given = _API_SERVER | own | variables
        for key, value in given.items():
            command += ["--env", f"{key}={value}"]
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            command += self._mount(volumes[mount["name"]], mount, context)
        entry, *arguments = [*container["command"], *container.get("args", [])]
        docker(*command, "--entrypoint", entry, self.image, *arguments)
        return Container(name=name, grace=spec.get("terminationGracePeriodSeconds", 30))

    def _mount(self, volume: Manifest, mount: Manifest, context: Manifest) -> list[str]:
        target = mount["mountPath"]
        if volume.get("emptyDir", {}).get("medium") == "Memory":
            size = int(quantity(volume["emptyDir"]["sizeLimit"]))
            return ["--tmpfs", f"{target}:rw,exec,mode=1777,size={size}"]
        if "emptyDir" in volume:
            source = self._folder / "empty" / uuid.uuid4().hex
            source.mkdir(parents=True)
            source.chmod(0o1777)
            return ["--volume", f"{source}:{target}"]
        read_only = mount.get("readOnly", False)
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]
            if claim["claimName"] in self._claims:
                return ["--tmpfs", f"{target}:rw,uid=1000,{self._claims[claim['claimName']]}"]
            source = self.claim(claim["claimName"])
            read_only = read_only or claim.get("readOnly", False)
        else:
            source, read_only = self._write_object(volume, context), True
        return ["--volume", f"{source}:{target}{':ro' if read_only else ''}"]

    def _write_object(self, volume: Manifest, context: Manifest) -> Path:
        """Files of a ConfigMap or Secret: root's, and fsGroup may read them. The kubelet, too, makes links to them."""
        kind = "configMap" if "configMap" in volume else "secret"
        source = volume[kind]
        name = source["name" if kind == "configMap" else "secretName"]
        content = self.objects[kind, name]
        items = source.get("items") or [{"key": key, "path": key} for key in content]
        folder = self._folder / "objects" / uuid.uuid4().hex
        version = folder / "..version"
        version.mkdir(parents=True)
        folder.chmod(0o755)
        version.chmod(0o755)
        (folder / "..data").symlink_to(version.name)
        self._folders.setdefault((kind, name), []).append(folder)
        for item in items:
            path = version / item["path"]
            (folder / item["path"]).symlink_to(Path("..data") / item["path"])
            path.write_text(content[item["key"]])
            mode = item.get("mode", source.get("defaultMode", 0o644))
            if "fsGroup" in context:
                os.chown(path, 0, context["fsGroup"])
                mode |= 0o440
            path.chmod(mode)
        return folder


def _security(context: Manifest) -> list[str]:
    assert context["runAsNonRoot"] and context["runAsUser"] != 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}  # Docker's default, too
    options = ["--user", f"{context['runAsUser']}:{context['runAsGroup']}", "--group-add", str(context["fsGroup"])]
    for capability in context.get("capabilities", {}).get("drop", []):
        options += ["--cap-drop", capability]
    if not context.get("allowPrivilegeEscalation", True):
        options += ["--security-opt", "no-new-privileges"]
    if context.get("readOnlyRootFilesystem"):
        options.append("--read-only")
    return options


@contextlib.contextmanager
def namespace(folder: Path, image: str) -> Iterator[Pods]:
    """A namespace that is taken away at the end, whatever happens."""
    pods = Pods(folder, image)
    try:
        yield pods
    finally:
        pods.close()


def read_json(path: Path) -> Manifest:
    """A JSON file that a container has written."""
    content = json.loads(path.read_text())
    assert isinstance(content, dict)
    return content
