"""A rendered overlay whose MPIJob or TrainJob is run in containers, as its operator would."""

import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from . import kubeflow_trainer, mpi_operator
from .docker_pods import Container, Pods, read_json
from .mpi_operator import Pod, Workload
from .rendering import Manifest, find, make_key


class EmulatedJob:
    """The pods of a namespace in which one of k8s/overlays was applied."""

    def __init__(self, pods: Pods, manifests: list[Manifest], keys: Path, **training: Any) -> None:
        self.pods, self._manifests, self._keys = pods, manifests, keys
        self.workload = _workload(manifests, pods.namespace)
        self.workers = [pod.name for pod in self.workload.workers]
        self.runs = pods.claim("cnn-runs") / "train"
        self.give_key()
        self.tell_running(*range(len(self.workers)))
        self.set_training(**training)

    def give_key(self) -> None:
        """Puts a new key in the Secret; pods that run keep theirs."""
        path = self._keys / f"key-{len(list(self._keys.glob('key-*')))}"
        make_key(path)
        self.pods.objects["secret", self.workload.secret_name] = {
            "ssh-privatekey": path.read_text(),
            "ssh-publickey": path.with_name(f"{path.name}.pub").read_text(),
        }

    def give_hostfile(self, hostfile: str, running: Sequence[int] = ()) -> None:
        """Puts a hostfile in the operator's ConfigMap, and the script that names the workers which run."""
        script = self.workload.discover_hosts([self.workload.workers[each] for each in running], self.pods.namespace)
        self.pods.update("configMap", self.workload.config_name, {"hostfile": hostfile, "discover_hosts.sh": script})

    def tell_running(self, *workers: int) -> None:
        """What the operator does when it has seen which workers run."""
        self.give_hostfile(self.workload.config["hostfile"], workers)

    def set_training(self, **settings: Any) -> None:
        """Changes settings in the rendered ConfigMap, as a user does in an overlay."""
        manifest = find(self._manifests, "ConfigMap", "cnn-settings")
        training = {**yaml.safe_load(manifest["data"]["train.yaml"]), **settings}
        data = {**manifest["data"], "train.yaml": yaml.safe_dump(training)}
        self.pods.objects["configMap", manifest["metadata"]["name"]] = data

    def prepare(self) -> tuple[int, str]:
        """Runs the job that prepares the data."""
        job = find(self._manifests, "Job", "prepare")
        return self.pods.start(Pod(name="prepare", spec=job["spec"]["template"]["spec"])).wait()

    def start_worker(self, index: int) -> Container:
        return self.pods.start(self.workload.workers[index])

    def start_workers(self) -> list[Container]:
        return [self.start_worker(index) for index in range(len(self.workers))]

    def start_launcher(self, *settings: str, **variables: str) -> Container:
        """Starts the launcher; `settings` follow those in its manifest."""
        launcher = copy.deepcopy(self.workload.launcher)
        launcher.spec["containers"][0]["args"] += settings
        return self.pods.start(launcher, **variables)

    def start_endless(self) -> tuple[list[Container], Container]:
        """Starts workers and launcher, which train until they are ended; they have begun when this returns."""
        self.set_training(epochs=1_000_000, save_every=1_000_000)
        workers = self.start_workers()
        launcher = self.start_launcher()
        launcher.await_line(r"^(\[0\]<stdout>:)?step ")  # as Horovod's launcher passes it on
        return workers, launcher

    def hosts(self) -> list[str]:
        """The workers that ranks are on."""
        return sorted(read_json(self.runs / "environment.json")["topology"]["hosts"])

    def await_hosts(self, hosts: list[str], launcher: Container) -> None:
        """Until ranks are on these workers; AssertionError when that takes too long, or the launcher ends."""
        deadline = time.monotonic() + 180
        while self.hosts() != hosts:
            assert launcher.runs(), launcher.logs()
            assert time.monotonic() < deadline, launcher.logs()

    def saved_steps(self) -> list[int]:
        """Steps of which there is a checkpoint."""
        return sorted(int(path.stem.removeprefix("step-")) for path in self.runs.glob("checkpoints/step-*.npz"))


def _workload(manifests: list[Manifest], namespace: str) -> Workload:
    if not any(each["kind"] == "TrainJob" for each in manifests):
        return mpi_operator.make_workload(find(manifests, "MPIJob", "train"), namespace)
    job = find(manifests, "TrainJob", "train")
    runtime = kubeflow_trainer.runtime_of(job, manifests)
    assert runtime is not None
    return kubeflow_trainer.make_workload(runtime, job)
