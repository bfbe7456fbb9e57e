"""Where a run's numbers go while it trains: to Prometheus, and to the status of its TrainJob."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

from cnn.cluster.ranks.collectives import Cluster
from cnn.cluster.ranks.installation import versions
from cnn.cluster.ranks.job import Job
from cnn.errors import UserError
from cnn.monitoring.serving.metrics_server import MetricsServer
from cnn.monitoring.serving.numbers_receiver import NumbersReceiver
from cnn.monitoring.serving.trainjob_status import TrainJobStatus, status_server
from cnn.settings.settings import TrainingSettings


@contextlib.contextmanager
def serving(cluster: Cluster, settings: TrainingSettings, job: Job) -> Iterator[Sequence[NumbersReceiver]]:
    """Yields what gets the run's numbers on rank 0 while the context lasts, and nothing on other ranks.

    Every rank calls it. Prometheus gets them if a port is set, and the TrainJob if the Trainer has set its variables.
    In an elastic job, the rank 0 of each set of workers opens the port.

    Raises:
        UserError: on every rank, if the port cannot be opened. Once the job has trained, that is a warning instead.
    """
    receivers: list[NumbersReceiver] = []
    with contextlib.ExitStack() as stack:

        def open_all() -> None:
            if settings.metrics.metrics_port is not None:
                receivers.append(_numbers_for_prometheus(cluster, settings, job, stack.callback))
            status = _status_of_trainjob(job)
            if status is not None:
                stack.callback(status.close)
                receivers.append(status)

        cluster.on_chief(open_all)
        yield receivers


def _numbers_for_prometheus(
    cluster: Cluster, settings: TrainingSettings, job: Job, at_end: Callable[[Callable[[], None]], object]
) -> NumbersReceiver:
    """Opens the port, and hands its closing to `at_end`."""
    from cnn.monitoring.serving.served_numbers import ServedNumbers  # takes a tenth of a second

    run = {"model": settings.model.model, "data": settings.data.data, "optimizer": settings.optimizer.optimizer}
    numbers = ServedNumbers(versions(), run, cluster.world_size)
    try:
        at_end(MetricsServer(settings.metrics, numbers.registry).close)
    except UserError as error:
        if job.carried is None:
            raise
        job.note(f"{error} Training continues, and Prometheus gets no numbers of it.")
    return numbers


def _status_of_trainjob(job: Job) -> TrainJobStatus | None:
    """The status to post to; None outside TrainJobs, and where it cannot be posted to, which is no reason to fail."""
    try:
        server = status_server(os.environ)
    except UserError as error:
        job.note(f"{error} Training continues, and its TrainJob gets no status.")
        return None
    return None if server is None else TrainJobStatus(server, job.note)
