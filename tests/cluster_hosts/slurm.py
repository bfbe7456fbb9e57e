"""A Slurm cluster of two of the hosts: its controller on the first, a munged and a slurmd on each."""

import os
import shutil
from pathlib import Path

from .hosts import NAMES, PATH, Ended, Hosts

NODES = NAMES[:2]
_PROGRAMS = ("munged", "sbatch", "scancel", "scontrol", "slurmctld", "slurmd", "srun")

_CONFIG = """
ClusterName=tests
SlurmctldHost={controller}
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir=/run/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
NodeName={nodes} CPUs={cores} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
"""A job that is put into the queue again waits until its old credentials have expired: seconds here."""


def missing() -> str:
    """What this machine lacks for it; empty when nothing."""
    absent = [program for program in _PROGRAMS if not shutil.which(program, path=PATH)]
    return f"{', '.join(absent)} (Debian: apt install slurm-wlm munge)" if absent else ""


class Slurm:
    """The cluster; it ends with the hosts."""

    def __init__(self, hosts: Hosts, folder: Path) -> None:
        self._hosts, self._config = hosts, folder / "slurm.conf"
        self.folder = folder
        (folder / "state").mkdir()
        (folder / "key").write_bytes(os.urandom(1024))
        (folder / "key").chmod(0o400)
        self._config.write_text(
            _CONFIG.format(controller=NODES[0], folder=folder, nodes=",".join(NODES), cores=os.cpu_count())
        )
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        munge = f"mkdir -p /run/munge /run/slurmd && munged --force --key-file={folder}/key --pid-file=/run/munge.pid"
        for name in NODES:
            hosts[name].call("sh", "-ec", f"{munge} --log-file={folder}/munge-{name}.log --seed-file=/run/munge.seed")
        self.call("slurmctld")
        for name in NODES:
            self.call("slurmd", on=name)

    def call(self, *command: object, on: str = NODES[0]) -> Ended:
        """Runs one of Slurm's programs on a host."""
        ended = self._hosts.run(*command, on=on, SLURM_CONF=str(self._config))
        assert ended.code == 0, ended.output
        return ended

    def submit(self, *arguments: object) -> str:
        """Puts a job into the queue; gives its number."""
        return self.call("sbatch", "--parsable", *arguments).output.split()[-1]

    def state(self, job: str) -> dict[str, str]:
        """What Slurm says of a job, by name."""
        fields = self.call("scontrol", "--oneliner", "show", "job", job).output.split()
        return dict(field.split("=", 1) for field in fields if "=" in field)
