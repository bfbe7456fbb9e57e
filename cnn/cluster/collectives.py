"""The workers of a job, and what they say to each other outside the training step."""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from cnn.cluster.elastic import is_elastic
from cnn.cluster.left_over import settle
from cnn.cluster.mpi_ports import close_ports
from cnn.cluster.process import Devices, Launch, take_devices
from cnn.errors import RunError, UserError
from cnn.tensor import Tensor

_ENVIRONMENT = {
    # Horovod would merge tensors by who came first: sums would differ from run to run.
    "HOROVOD_FUSION_THRESHOLD": "0",
    # Milliseconds between two looks of Horovod's thread at its queue. It polls: where a rank has one core, 0.5 ms
    # costs little and small networks wait for every look.
    "HOROVOD_CYCLE_TIME": "0.5",
    "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "600",
    # MPI waits by spinning, which takes the core from the computation that it waits for.
    "OMPI_MCA_mpi_yield_when_idle": "1",
}
_Result = TypeVar("_Result")

_TURN_SECONDS = 20.0
"""How often ranks that wait for a long work of one hear of each other; Horovod takes those for stalled that do not."""

_PROCESSOR = "CPU:0"
_NOT_TWICE = ("HOROVOD_FUSION_THRESHOLD", "HOROVOD_CYCLE_TIME")
"""What Horovod 0.28 cannot take twice: a process that joins others again would die of a segmentation fault."""


def _set_environment(controller: str) -> None:
    settle(controller, os.environ)
    os.environ["HOROVOD_FUSION_THRESHOLD"] = _ENVIRONMENT["HOROVOD_FUSION_THRESHOLD"]
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if is_elastic():
        for name in _NOT_TWICE:
            del os.environ[name]


class Cluster:
    """The workers of one job. A job of one process is a cluster of one, without Horovod.

    Attributes:
        rank, world_size, local_rank, local_size: this process's place.
        peers: for each rank, its host's name and process id.
    """

    def __init__(self, launch: Launch, devices: Devices | None = None) -> None:
        self._launch = launch
        self.rank, self.world_size = launch.rank, launch.world_size
        self.local_rank, self.local_size = launch.local_rank, launch.local_size
        self.controller = launch.controller
        self.devices = take_devices(launch, os.environ.get("CNN_DEVICE")) if devices is None else devices
        self.cores = self.devices.cores
        self._calls = 0
        # One process of mpirun's needs no Horovod: MPI could be started but once below one mpirun, that of a notebook
        # for example. Whom horovodrun starts others may join.
        self._connected = launch.world_size > 1 or launch.controller == "gloo"
        if self._connected:
            _set_environment(launch.controller)
            close_ports(launch)
            import horovod.tensorflow as hvd

            hvd.init()
            if is_elastic():  # others may have come or gone since this process was started
                self.rank, self.world_size = hvd.rank(), hvd.size()
                self.local_rank, self.local_size = hvd.local_rank(), hvd.local_size()
            elif (hvd.rank(), hvd.size()) != (self.rank, self.world_size):
                raise RunError(
                    f"Horovod says rank {hvd.rank()} of {hvd.size()} where the launcher said {self.rank} of "
                    f"{self.world_size}: the ranks are not connected; start all of them with one horovodrun or mpirun."
                )
            self._hvd = hvd
        self.peers: list[list[Any]] = self.gather([socket.gethostname(), os.getpid()])
        # NCCL refuses a GPU that two ranks share: what they compute then travels by way of the processors.
        self._by_processor = set(self.gather(self.devices.gpu)) not in ({"none"}, {"own"})

    @property
    def is_chief(self) -> bool:
        """Whether this is the one rank that writes and speaks for all."""
        return self.rank == 0

    def crowding(self) -> str:
        """What it means that this rank's host has more ranks than cores; empty where it has not."""
        if not self.cores.shared:
            return ""
        cores = f"{self.cores.shared} cores of {self.peers[self.rank][0]}"
        return f"{self.local_size} workers share {cores} and compute in turn: fewer would be faster."

    def _name(self, what: str) -> str:
        # Ranks make the same calls in the same order, so the n-th call of each belongs together.
        self._calls += 1
        return f"{what}.{self._calls}"

    def gather(self, value: Any) -> list[Any]:
        """Every rank's `value` (anything that JSON can hold), in the order of ranks, on every rank."""
        text = json.dumps(value).encode()
        if self.world_size == 1:
            return [json.loads(text)]
        with tf.device(_PROCESSOR):
            length, content = tf.constant([len(text)], tf.int64), tf.constant(np.frombuffer(text, np.uint8))
            lengths = self._hvd.allgather(length, name=self._name("lengths")).numpy()
            joined = self._hvd.allgather(content, name=self._name("gather")).numpy().tobytes()
        ends = np.cumsum(lengths)
        return [json.loads(joined[end - length : end]) for length, end in zip(lengths, ends, strict=True)]

    def sum(self, values: np.ndarray) -> np.ndarray:
        """The sum over the ranks of an array of int64 or float64, on every rank."""
        if self.world_size == 1:
            return values
        with tf.device(_PROCESSOR):
            total = self._hvd.allreduce(tf.constant(values), op=self._hvd.Sum, name=self._name("sum"))
            return np.asarray(total.numpy())

    def broadcast(self, variables: Sequence[Tensor]) -> None:
        """Gives every rank rank 0's values of TensorFlow variables."""
        if self.world_size == 1:
            return
        call = self._name("broadcast")
        for index, variable in enumerate(variables):
            with tf.device(_PROCESSOR):
                value = self._hvd.broadcast(variable, root_rank=0, name=f"{call}.{index}")
            variable.assign(value)

    def sum_in_graph(self, tensor: Tensor, name: str) -> Tensor:
        """As `sum`, for a tensor inside a compiled step; `name` is the same on every rank and used once in a step."""
        with self._place():
            return self._hvd.allreduce(tensor, op=self._hvd.Sum, name=name)

    def gather_in_graph(self, tensor: Tensor, name: str) -> Tensor:
        """The tensors (samples, ...) of all ranks, one behind the other, inside a compiled step; names as above."""
        with self._place():
            return self._hvd.allgather(tensor, name=name)

    def _place(self) -> contextlib.AbstractContextManager[Any]:
        """Where messages inside a step are taken from and put to."""
        return tf.device(_PROCESSOR) if self._by_processor else contextlib.nullcontext()

    def agree(self, mistake: UserError | None) -> None:
        """Raises one UserError on every rank if any rank has made a mistake."""
        texts = self.gather(None if mistake is None else str(mistake))
        wrong = [rank for rank, text in enumerate(texts) if text is not None]
        if not wrong:
            return
        sentence = texts[wrong[0]]
        if wrong[0] != 0:  # what rank 0 alone looks at concerns all
            sentence = f"rank {wrong[0]} (on {self.peers[wrong[0]][0]}): {sentence}"
        raise UserError(sentence, agreed=True) from mistake

    @contextlib.contextmanager
    def shared_errors(self) -> Iterator[None]:
        """What a user got wrong inside, on whichever rank, ends every rank alike at the end of the block."""
        mistake = None
        try:
            yield
        except UserError as error:
            mistake = error
        self.agree(mistake)

    def on_chief(self, work: Callable[[], _Result]) -> _Result | None:
        """What `work` gives on rank 0, which alone does it; None elsewhere. A user's mistake in it ends every rank."""
        result = None
        with self.shared_errors():
            if self.is_chief:
                result = work()
        return result

    def from_chief(self, work: Callable[[], Any]) -> Any:
        """As `on_chief`, but what it gives, anything that JSON can hold, is given on every rank."""
        return self.gather(self.on_chief(work))[0]

    def done_everywhere(self, work: Callable[[], _Result]) -> _Result:
        """What `work` gives on this rank, or raises, once all ranks have done theirs, however long one takes."""
        if self.world_size == 1:
            return work()
        thread = ThreadPoolExecutor(1)
        try:
            result = thread.submit(work)
            wait([result], _TURN_SECONDS)
            while not all(self.gather(result.done())):
                wait([result], _TURN_SECONDS)
            return result.result()
        finally:
            thread.shutdown(wait=False)  # a job that ends before does not wait for it

    def rejoin(self) -> "Cluster":
        """The cluster of those workers that the launcher has now; it waits until they are there."""
        self._hvd.shutdown()
        return Cluster(self._launch, self.devices)

    def close(self) -> None:
        """Leaves the job in good order; every rank calls it."""
        if self._connected:
            self._hvd.shutdown()
