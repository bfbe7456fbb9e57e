"""The image, and pods of the rendered manifests, run as containers."""

import base64
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cnn.monitoring.records.metrics import read_metrics

from .docker_pods import Container, Pods, docker, namespace, read_json
from .emulated_job import EmulatedJob
from .mpi_operator import Pod
from .rendering import Manifest, find

pytestmark = pytest.mark.cluster

LOCKED_DOWN = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp"]


@pytest.fixture
def pods(image: str, tmp_path: Path) -> Iterator[Pods]:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # pytest's folders are root's alone
    with namespace(tmp_path / "namespace", image) as pods:
        yield pods


@pytest.fixture
def job(pods: Pods, rendered: dict[str, list[Manifest]], tmp_path: Path) -> EmulatedJob:
    """The cpu overlay with prepared data."""
    job = EmulatedJob(pods, rendered["overlays/cpu"], tmp_path, epochs=2)
    code, said = job.prepare()
    assert code == 0, said
    return job


def test_image_trains_as_a_user_who_may_nothing(image: str) -> None:
    folders = ["--tmpfs", "/data:uid=1000", "--tmpfs", "/runs:uid=1000"]
    script = "id -u; grep CapBnd /proc/self/status; bash launch/quickstart.sh --run_dir /runs/a --epochs 10"
    said = docker("run", "--rm", *LOCKED_DOWN, *folders, image, "bash", "-c", script)
    assert said.splitlines()[:2] == ["1000", "CapBnd:\t0000000000000000"]
    assert re.search(r"3\d\d of 359 test images right", said), said


def test_image_has_no_key_and_no_tools_to_build(image: str) -> None:
    script = "ls /etc/ssh /home/mpiuser/.ssh; which g++ make cmake pip ruff uv; touch /opt/cnn/x"
    done = subprocess.run(["docker", "run", "--rm", image, "bash", "-c", script], capture_output=True, text=True)
    assert "host_key" not in done.stdout
    assert "/bin/" not in done.stdout
    assert "Permission denied" in done.stderr


LIBRARIES_USED = """
import hashlib, io
import cv2, numpy as np
from scipy.io import loadmat, savemat
from scipy.special import betaincinv
pixels = np.random.default_rng(1).integers(0, 256, (333, 200, 3), np.uint8)
resized = cv2.flip(cv2.resize(pixels, (224, 224), interpolation=cv2.INTER_LINEAR), 1)
print(hashlib.sha256(resized).hexdigest(), betaincinv(0.2, 0.2, [0.1, 0.7]))
savemat(file := io.BytesIO(), {"x": [(1, "a")]})
print(loadmat(io.BytesIO(file.getvalue()), squeeze_me=True)["x"])
"""


def test_image_computes_as_this_environment_by_the_libraries_that_it_has_in_part(image: str) -> None:
    here = subprocess.run([sys.executable, "-c", LIBRARIES_USED], capture_output=True, text=True, check=True)
    assert docker("run", "--rm", image, "python", "-c", LIBRARIES_USED) == here.stdout.strip()


@pytest.mark.parametrize("settings", [("--xla",), ("--mixup", "0.2")])
def test_image_trains_by_what_loads_more_of_the_libraries(image: str, settings: Sequence[str]) -> None:
    """And exports what it has learned."""
    train = ["python", "jobs/train.py", "--data", "digits", "--model", "fcnn", "--epochs", "1", "--run_dir", "/runs/a"]
    export = "python jobs/export.py --run_dir /runs/a --output /runs/e --formats keras saved_model tflite"
    script = f"{' '.join([*train, *settings])} && {export} && ls /runs/e"
    assert "network.tflite" in docker("run", "--rm", "--tmpfs", "/runs:uid=1000", image, "bash", "-c", script)


def test_data_are_prepared_once(job: EmulatedJob) -> None:
    files = {path: path.stat().st_mtime_ns for path in job.pods.claim("cnn-data").rglob("*.npy")}
    assert files
    code, said = job.prepare()
    assert code == 0, said
    assert {path: path.stat().st_mtime_ns for path in job.pods.claim("cnn-data").rglob("*.npy")} == files


def test_launcher_awaits_workers_and_tensorboard_shows_the_run(
    job: EmulatedJob, rendered: dict[str, list[Manifest]]
) -> None:
    launcher = job.start_launcher()
    launcher.await_line("0 of 2 hosts are reachable")
    job.start_worker(0)
    launcher.await_line("1 of 2 hosts are reachable")
    job.start_worker(1)
    code, said = launcher.wait()
    assert code == 0, said
    assert sorted(read_json(job.runs / "environment.json")["topology"]["hosts"]) == job.workers

    deployment = find(rendered["overlays/cpu"], "Deployment", "tensorboard")
    pod = Pod(name="tensorboard", spec=deployment["spec"]["template"]["spec"])
    board = job.pods.start(pod)
    address = docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", board.name)
    board.await_line("Press CTRL")
    tags = _tags(f"http://{address}:6006", job.runs.name)
    assert {"loss/train", "loss/test", "accuracy/validation"} <= tags.keys()


def _tags(board: str, run: str) -> dict[str, Any]:
    """The tags of the run's numbers, once TensorBoard has read them to the end."""
    deadline = time.monotonic() + 60
    while True:
        with urllib.request.urlopen(f"{board}/data/plugin/scalars/tags", timeout=60) as response:
            answer = json.load(response)
        if "loss/test" in answer.get(run, {}):
            return dict(answer[run])
        assert time.monotonic() < deadline, answer


def test_worker_that_is_drained_gives_a_checkpoint_from_which_the_job_goes_on(job: EmulatedJob) -> None:
    (_, second), launcher = job.start_endless()
    second.stop()
    code, said = launcher.wait(120)
    assert code == 75, said
    assert second.wait()[0] == 75
    step = job.saved_steps()[-1]

    # The operator makes the pod anew, and the launcher's Job starts the launcher again.
    second.remove()
    job.start_worker(1)
    code, said = job.start_launcher("--steps", str(step + 30)).wait()
    assert code == 0, said
    assert read_json(job.runs / "summary.json")["steps"] == step + 30
    first = re.search(r"^step ([\d,]+)/", said, re.MULTILINE)
    assert first
    assert step < int(first[1].replace(",", "")) <= step + 30


@pytest.mark.parametrize("ended", ["the launcher", "all pods at once"])
def test_job_that_is_suspended_gives_a_checkpoint(job: EmulatedJob, ended: str) -> None:
    workers, launcher = job.start_endless()
    with ThreadPoolExecutor() as pool:
        list(pool.map(Container.stop, [launcher] if ended == "the launcher" else [launcher, *workers]))
    code, said = launcher.wait(120)
    assert code == 75, said
    assert job.saved_steps()


def test_elastic_job_goes_on_without_a_worker_and_takes_it_back(
    pods: Pods, rendered: dict[str, list[Manifest]], tmp_path: Path
) -> None:
    job = EmulatedJob(pods, rendered["overlays/elastic"], tmp_path)
    code, said = job.prepare()
    assert code == 0, said
    (_, second), launcher = job.start_endless()
    assert job.hosts() == job.workers
    second.kill()
    job.tell_running(0)
    job.await_hosts(job.workers[:1], launcher)
    second.remove()
    job.start_worker(1)
    job.tell_running(0, 1)
    job.await_hosts(job.workers, launcher)
    launcher.stop()
    code, said = launcher.wait(120)
    assert code == 75, said
    assert "which is saved" in (job.runs / "failure.log").read_text()  # the launcher waits for it
    points = [record["step"] for record in read_metrics(job.runs / "metrics.jsonl") if record["part"] == "train"]
    assert points == sorted(set(points))
    assert job.saved_steps()[-1] >= points[-1]

    # The launcher's Job starts it again, and it goes on from there.
    end = job.saved_steps()[-1] + 30
    code, said = job.start_launcher("--steps", str(end)).wait()
    assert code == 0, said
    assert read_json(job.runs / "summary.json")["steps"] == end


def test_launcher_that_is_asked_to_end_while_it_waits_ends(job: EmulatedJob) -> None:
    launcher = job.start_launcher()
    launcher.await_line("0 of 2 hosts are reachable")
    launcher.stop()
    code, said = launcher.wait(30)
    assert code == 75, said


def test_worker_that_is_killed_ends_the_job_for_another_try(job: EmulatedJob) -> None:
    (first, second), launcher = job.start_endless()
    second.kill()
    code, said = launcher.wait(120)
    assert code not in (0, 2), said
    assert first.execute("pgrep", "-c", "sshd")  # it can be entered again


def _refuse_key(job: EmulatedJob) -> dict[str, str]:
    job.start_workers()
    job.give_key()
    return {}


def _one_worker(job: EmulatedJob) -> dict[str, str]:
    job.start_worker(0)
    return {"CNN_WAIT_SECONDS": "3"}


def _empty_hostfile(job: EmulatedJob) -> dict[str, str]:
    job.give_hostfile("")
    return {}


def _hostfile_of_one(job: EmulatedJob) -> dict[str, str]:
    job.start_workers()
    job.give_hostfile(job.workload.config["hostfile"].splitlines(keepends=True)[0])
    return {}


def _no_marker(job: EmulatedJob) -> dict[str, str]:
    for marker in job.pods.claim("cnn-data").glob("prepared-*"):
        marker.unlink()
    return {"CNN_WAIT_SECONDS": "2"}


def _read_only(job: EmulatedJob) -> dict[str, str]:
    job.runs.parent.chmod(0o555)
    job.start_workers()
    return {}


def _full(job: EmulatedJob) -> dict[str, str]:
    job.pods.small_claim("cnn-runs", kilobytes=200)
    job.start_workers()
    return {}


def _no_gpu(job: EmulatedJob) -> dict[str, str]:
    job.start_workers()
    return {"CNN_DEVICE": "gpu"}


MISTAKES: dict[str, tuple[Callable[[EmulatedJob], dict[str, str]], bool, str]] = {
    "wrong key": (_refuse_key, True, r"host train-worker-\d\S* is unreachable .*(verification failed|denied)"),
    "name missing": (
        _one_worker,
        True,
        r"host train-worker-1\S* is unreachable after \d+ s \(its name is unknown",
    ),
    "hostfile empty": (_empty_hostfile, False, "hostfile /etc/mpi/hostfile names no host"),
    "hostfile of one": (_hostfile_of_one, False, r"\(CNN_EXPECTED_HOSTS=2, .*\): there are 1 on train-worker-0\."),
    "data not prepared": (_no_marker, True, r"data are not prepared after 2 s \(/data/prepared-\w+ is missing\)"),
    "volume read-only": (_read_only, False, r"run folder /runs/train cannot be written"),
    "volume full": (_full, False, r"disk of /runs/train has \d+ kB free"),
    "no GPU": (_no_gpu, False, "no GPU"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_named_in_time_and_says_whether_to_try_again(job: EmulatedJob, mistake: str) -> None:
    make, again, sentence = MISTAKES[mistake]
    variables = make(job)
    code, said = job.start_launcher(**variables).wait(120)
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, said
    assert re.search(sentence, errors[0]), said
    assert "Traceback" not in said
    assert code not in (0, 75)
    assert (code != 2) == again


def test_indexed_job_trains_without_an_operator(
    pods: Pods, rendered: dict[str, list[Manifest]], tmp_path: Path
) -> None:
    manifests = rendered["standalone"]
    for manifest in manifests:
        if manifest["kind"] == "ConfigMap":
            pods.objects["configMap", manifest["metadata"]["name"]] = dict(manifest["data"])
    pods.objects["secret", "train-ssh"] = _key_made_by_the_image(pods)
    prepare = find(manifests, "Job", "prepare")["spec"]["template"]["spec"]
    code, said = pods.start(Pod(name="prepare", spec=prepare)).wait()
    assert code == 0, said

    job = find(manifests, "Job", "train")
    containers = []
    for index in range(job["spec"]["completions"]):
        spec = {**job["spec"]["template"]["spec"], "hostname": f"train-{index}"}
        containers.append(pods.start(Pod(name=f"train-{index}", spec=spec), JOB_COMPLETION_INDEX=str(index)))
    first, second = containers
    code, said = first.wait()
    assert code == 0, said
    run = pods.claim("cnn-runs") / "train"
    assert sorted(read_json(run / "environment.json")["topology"]["hosts"]) == ["train-0", "train-1"]
    assert read_json(run / "summary.json")["test_accuracy"] > 0.9
    second.stop()
    assert second.wait()[0] == 75


def _key_made_by_the_image(pods: Pods) -> dict[str, str]:
    """What the job `key` would store."""
    program = "import json; from cnn.launching.job_key import make_secret; print(json.dumps(make_secret('x', {})))"
    secret = json.loads(docker("run", "--rm", *LOCKED_DOWN, pods.image, "python", "-c", program))
    return {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}


def test_trainjob_trains_is_suspended_and_goes_on(
    pods: Pods, rendered: dict[str, list[Manifest]], tmp_path: Path
) -> None:
    job = EmulatedJob(pods, rendered["overlays/trainjob"], tmp_path)
    code, said = job.prepare()
    assert code == 0, said
    workers, launcher = job.start_endless()
    assert job.hosts() == [job.workload.launcher.name, *job.workers]
    assert (job.runs / "settings.yaml").exists()
    with ThreadPoolExecutor() as pool:
        list(pool.map(Container.stop, [launcher, *workers]))
    code, said = launcher.wait(120)
    assert code == 75, said
    assert [worker.wait()[0] for worker in workers] == [75] * len(workers)

    for container in (launcher, *workers):
        container.remove()
    end = job.saved_steps()[-1] + 30
    job.start_workers()
    code, said = job.start_launcher("--steps", str(end)).wait()
    assert code == 0, said
    assert read_json(job.runs / "summary.json")["steps"] == end


def test_trainjob_that_got_fewer_nodes_than_ordered_trains_nothing(
    pods: Pods, rendered: dict[str, list[Manifest]], tmp_path: Path
) -> None:
    job = EmulatedJob(pods, rendered["overlays/trainjob"], tmp_path)
    code, said = job.prepare()
    assert code == 0, said
    job.give_hostfile(job.workload.config["hostfile"].splitlines(keepends=True)[0])
    code, said = job.start_launcher().wait(120)
    assert code == 2, said
    assert re.search(r"\(CNN_EXPECTED_HOSTS=2, .*\): there are 1 on train-launcher-0-0\.", said), said
    assert not job.runs.exists()
