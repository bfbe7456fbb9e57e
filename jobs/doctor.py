"""Checks whether the workers of a job can work together: versions, code, data, sums, links, processors, disks, clocks.

  mpirun -np 2 python jobs/doctor.py
  bash launch/mpirun.sh -H a:4,b:4 --program jobs/doctor.py -- --data oxflower17 --data_dir DIR

Prints a table and a verdict. Exit code 0: the job can start, which warnings do not prevent; 1: it cannot.
"""

import cnn  # noqa: F401  # first, so that Ctrl-C during later imports prints no traceback

# isort: split
import dataclasses
from typing import TYPE_CHECKING

from cnn.cluster.ranks.job import Job
from cnn.cluster.ranks.run_job import run_job
from cnn.data.sources.registry import DataSettings, open_dataset
from cnn.errors import RunError
from cnn.settings.settings import parse_settings

if TYPE_CHECKING:
    from cnn.cluster.ranks.collectives import Cluster


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a checkup."""

    data: DataSettings


def parse() -> Settings:
    return parse_settings(str(__doc__), Settings)


def body(cluster: "Cluster", settings: Settings, job: Job) -> None:
    from cnn.cluster.ranks.checkup import check_up
    from cnn.monitoring.terminal.checkup_table import checkup_table

    with cluster.shared_errors():
        dataset = cluster.done_everywhere(lambda: open_dataset(settings.data))
    checkup = check_up(cluster, {f"data {settings.data.data}": dataset.checksum[:16]})
    if cluster.is_chief:
        print(checkup_table(cluster.peers, cluster.controller, checkup), flush=True)
    if checkup.faults:
        raise RunError("; ".join(checkup.faults), agreed=True)


if __name__ == "__main__":
    run_job(parse, body)
