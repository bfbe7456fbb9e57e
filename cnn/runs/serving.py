"""Whether and where a run serves its numbers to Prometheus."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cnn.cluster.collectives import Cluster
from cnn.cluster.installation import versions
from cnn.cluster.job import Job
from cnn.errors import UserError
from cnn.monitoring.metrics_server import MetricsServer
from cnn.settings.settings import TrainingSettings

if TYPE_CHECKING:
    from cnn.monitoring.served_numbers import ServedNumbers


@contextlib.contextmanager
def serving(cluster: Cluster, settings: TrainingSettings, job: Job) -> Iterator["ServedNumbers | None"]:
    """Serves numbers from rank 0 while the context lasts, if a port is set; yields them there, and None elsewhere.

    Every rank calls it. In an elastic job, the rank 0 of each set of workers opens the port.

    Raises:
        UserError: on every rank, if the port cannot be opened. Once the job has trained, that is a warning instead.
    """
    server: MetricsServer | None = None
    numbers: ServedNumbers | None = None

    def open_port() -> None:
        nonlocal server, numbers
        from cnn.monitoring.served_numbers import ServedNumbers  # takes a tenth of a second

        run = {"model": settings.model.model, "data": settings.data.data, "optimizer": settings.optimizer.optimizer}
        numbers = ServedNumbers(versions(), run, cluster.world_size)
        try:
            server = MetricsServer(settings.metrics, numbers.registry)
        except UserError as error:
            if job.carried is None:
                raise
            job.note(f"{error} Training continues, and Prometheus gets no numbers of it.")

    if settings.metrics.metrics_port is not None:
        cluster.on_chief(open_port)
    try:
        yield numbers
    finally:
        if server is not None:
            server.close()
