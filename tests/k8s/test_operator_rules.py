"""The emulated operator itself: what it adds to a rendered MPIJob."""

import subprocess
from pathlib import Path

from .mpi_operator import make_workload
from .rendering import Manifest, find


def test_pods_have_what_the_operator_adds(rendered: dict[str, list[Manifest]]) -> None:
    workload = make_workload(find(rendered["overlays/cpu"], "MPIJob", "train"), "flowers")
    assert workload.config["hostfile"] == (
        "train-worker-0.train.flowers.svc slots=1\ntrain-worker-1.train.flowers.svc slots=1\n"
    )
    variables = {each["name"]: each["value"] for each in workload.launcher.container["env"]}
    assert variables["OMPI_MCA_orte_default_hostfile"] == "/etc/mpi/hostfile"
    assert variables["NVIDIA_VISIBLE_DEVICES"] == ""
    for pod in (workload.launcher, *workload.workers):
        assert pod.spec["subdomain"] == "train"
        mounts = {mount["mountPath"]: mount["name"] for mount in pod.container["volumeMounts"]}
        assert mounts["/home/mpiuser/.ssh"] == "ssh-auth"
        assert ("/etc/mpi" in mounts) == (pod is workload.launcher)
        (secret,) = (volume["secret"] for volume in pod.spec["volumes"] if volume["name"] == "ssh-auth")
        assert "defaultMode" not in secret  # 0644, since it is not root's


def test_discovery_script_names_the_workers_that_run(rendered: dict[str, list[Manifest]], tmp_path: Path) -> None:
    workload = make_workload(find(rendered["overlays/elastic"], "MPIJob", "train"), "default")
    script = tmp_path / "discover_hosts.sh"
    script.write_text(workload.discover_hosts(workload.workers[::-1], "default"))
    script.chmod(0o555)
    names = subprocess.run([script], capture_output=True, text=True, check=True).stdout.split()
    assert names == ["train-worker-0.train.default.svc", "train-worker-1.train.default.svc"]
