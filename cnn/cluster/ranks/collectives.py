"""The workers of a job and their collective operations."""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from cnn.cluster.launchers.command_line import typed_command
from cnn.cluster.launchers.elastic import is_elastic
from cnn.cluster.launchers.left_over import set_controller
from cnn.cluster.launchers.mpi_ports import close_ports
from cnn.cluster.launchers.process import Devices, Launch, take_devices
from cnn.cluster.ranks.allreduce_rules import allreduce_rules
from cnn.cluster.ranks.tcp_messages import use_both_directions
from cnn.errors import RunError, UserError
from cnn.tensor import Tensor

_ENVIRONMENT = {
    # With fusion Horovod would merge tensors in the order of their arrival: sums would differ from run to run.
    "HOROVOD_FUSION_THRESHOLD": "0",
    # Milliseconds between two polls of Horovod's queue by its thread. Even on a rank with a single core 0.5 ms costs
    # little, and small networks wait for each poll.
    "HOROVOD_CYCLE_TIME": "0.5",
    "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "600",
    # MPI waits by spinning, which takes the core from the computation that it waits for.
    "OMPI_MCA_mpi_yield_when_idle": "1",
}
_Result = TypeVar("_Result")

_TURN_SECONDS = 20.0
"""Interval of the collectives while ranks wait for a slow one; without any, Horovod would consider them stalled."""

_BROADCAST_BYTES = 2**26
"""Maximum size of a message that holds several variables."""

_CPU = "CPU:0"
_SET_ONCE = ("HOROVOD_FUSION_THRESHOLD", "HOROVOD_CYCLE_TIME")
"""Variables that make Horovod 0.28 crash (segmentation fault) in a process that initialises it a second time."""


def _set_environment(launch: Launch) -> None:
    set_controller(launch.controller, os.environ)
    os.environ["HOROVOD_FUSION_THRESHOLD"] = _ENVIRONMENT["HOROVOD_FUSION_THRESHOLD"]
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    use_both_directions(launch.world_size, os.environ)
    if is_elastic():
        for name in _SET_ONCE:
            del os.environ[name]


class Cluster:
    """The workers of one job. A job of one process is a cluster of one, without Horovod.

    Args:
        launch: this process's position in the job.
        devices: what this process computes on; None to take its share of the host's devices.
        reproducible: as for `take_devices`.

    Attributes:
        rank, world_size, local_rank, local_size: this process's position in the job and on its host.
        peers: for each rank, its host's name and process id.
    """

    is_planned = False
    """Whether all ranks but this one are only imagined, so that nothing can be measured between them."""

    def __init__(self, launch: Launch, devices: Devices | None = None, *, reproducible: bool = False) -> None:
        self._launch = launch
        self.rank, self.world_size = launch.rank, launch.world_size
        self.local_rank, self.local_size = launch.local_rank, launch.local_size
        self.controller = launch.controller
        if devices is None:
            devices = take_devices(launch, os.environ.get("CNN_DEVICE"), reproducible=reproducible)
        self.devices = devices
        self.cores = self.devices.cores
        self._calls = 0
        # A lone process started by mpirun works without Horovod, because MPI can be initialised only once per mpirun,
        # for example that of a notebook. A lone process started by horovodrun needs it: others may join.
        self._connected = launch.world_size > 1 or launch.controller == "gloo"
        if self._connected:
            _set_environment(launch)
            close_ports(launch)
            import horovod.tensorflow as hvd

            with allreduce_rules(launch.world_size, os.environ):
                hvd.init()
            if is_elastic():  # workers may have joined or left since this process was started
                self.rank, self.world_size = hvd.rank(), hvd.size()
                self.local_rank, self.local_size = hvd.local_rank(), hvd.local_size()
            elif (hvd.rank(), hvd.size()) != (self.rank, self.world_size):
                raise RunError(
                    f"this is rank {hvd.rank()} of {hvd.size()} to Horovod, but rank {self.rank} of {self.world_size} "
                    "to the launcher: the ranks are not connected; start all of them with one horovodrun or mpirun."
                )
            self._hvd = hvd
        ranks = self.gather([socket.gethostname(), os.getpid(), self.devices.gpu])
        self.peers: list[list[Any]] = [[host, process] for host, process, _ in ranks]
        # NCCL refuses a GPU that two ranks share: tensors are then exchanged in host memory.
        self._on_cpu = {gpu for _, _, gpu in ranks} not in ({"none"}, {"exclusive"})

    @property
    def is_chief(self) -> bool:
        """Whether this is rank 0, the only rank that writes files and messages for all."""
        return self.rank == 0

    def crowding(self) -> str:
        """A message about this rank's host if it has more ranks than cores; empty otherwise."""
        if not self.cores.shared:
            return ""
        cores = f"{self.cores.shared} cores of {self.peers[self.rank][0]}"
        return f"{self.local_size} workers share {cores} and compute in turn: fewer would be faster."

    def has_room_for_twice_as_many(self) -> bool:
        """Whether each of twice as many workers would have a core of its own; not told for GPUs and several hosts."""
        one_host = len({host for host, _ in self.peers}) == 1
        return one_host and self.devices.gpu == "none" and self.cores.threads > 1 and not is_elastic()

    def typed_command(self) -> str:
        """The command that started this job, as `cnn.cluster.launchers.command_line.typed_command`."""
        return typed_command(self._launch, os.environ)

    def unused_gpu(self) -> str:
        """A message about this rank's host if it has a GPU that cannot be used; empty otherwise."""
        reason = self.devices.unused_gpu
        return f"{self.peers[self.rank][0]} has a GPU that is not used: {reason}" if reason else ""

    def observe(self, wrap: Callable[[Any], Any]) -> None:
        """Replaces Horovod's module by what `wrap` makes of it, to measure what this rank calls from now on."""
        if self._connected:
            self._hvd = wrap(self._hvd)

    def _name(self, operation: str) -> str:
        # Horovod matches calls by name; all ranks make the same calls in the same order, so their n-th calls match.
        self._calls += 1
        return f"{operation}.{self._calls}"

    def gather(self, value: Any) -> list[Any]:
        """Returns the `value` (serialisable as JSON) of every rank, in the order of ranks, on every rank."""
        text = json.dumps(value).encode()
        if self.world_size == 1:
            return [json.loads(text)]
        with tf.device(_CPU):
            # With the commas, all ranks' texts are the elements of one JSON array: their lengths need no message.
            content = tf.constant(np.frombuffer(text + b",", np.uint8))
            joined = self._hvd.allgather(content, name=self._name("gather")).numpy().tobytes()
        values: list[Any] = json.loads(b"[" + joined[:-1] + b"]")
        return values

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Adds up an int64 or float64 array over the ranks; returns the sum on every rank."""
        if self.world_size == 1:
            return values
        with tf.device(_CPU):
            total = self._hvd.allreduce(tf.constant(values), op=self._hvd.Sum, name=self._name("sum"))
            return np.asarray(total.numpy())

    def broadcast(self, variables: Sequence[Tensor]) -> None:
        """Assigns rank 0's values of TensorFlow variables on every rank.

        Variables of one dtype travel in common messages, because each message takes a while however small it is.
        """
        if self.world_size == 1:
            return
        for group in _groups(variables):
            with tf.device(_CPU):
                joined = tf.concat([tf.reshape(variable, [-1]) for variable in group], 0)
                values = self._hvd.broadcast(joined, root_rank=0, name=self._name("broadcast"))
                parts = tf.split(values, [variable.shape.num_elements() for variable in group])
            for variable, part in zip(group, parts, strict=True):
                variable.assign(tf.reshape(part, variable.shape))

    def join(self, rows: Tensor) -> Tensor:
        """Concatenates all ranks' tensors (rows, ...) in the order of ranks; the same on every rank."""
        if self.world_size == 1:
            return rows
        with tf.device(_CPU):
            return self._hvd.allgather(rows, name=self._name("join"))

    def sum_in_graph(self, tensor: Tensor, name: str) -> Tensor:
        """As `sum`, but inside a compiled step; `name` is the same on every rank and unique within the step."""
        with self._device():
            return self._hvd.allreduce(tensor, op=self._hvd.Sum, name=name)

    def gather_in_graph(self, tensor: Tensor, name: str) -> Tensor:
        """Concatenates all ranks' tensors (samples, ...) inside a compiled step; `name` as for `sum_in_graph`."""
        return self._copied(self._hvd.allgather, tensor, name)

    def transpose_in_graph(self, tensor: Tensor, name: str) -> Tensor:
        """Sends row r of a tensor (ranks, ...) to rank r inside a compiled step; `name` as for `sum_in_graph`.

        Returns:
            The rows sent to this rank, in the order of ranks, in a tensor of the same shape.
        """
        return self._copied(self._hvd.alltoall, tensor, name)

    def _copied(self, collective: Callable[..., Tensor], tensor: Tensor, name: str) -> Tensor:
        """The result of a collective that copies numbers without computing."""
        with self._device():
            if tensor.dtype == tf.bfloat16:  # which Horovod does not support, but it copies the same bits as integers
                return tf.bitcast(collective(tf.bitcast(tensor, tf.uint16), name=name), tf.bfloat16)
            return collective(tensor, name=name)

    def _device(self) -> contextlib.AbstractContextManager[Any]:
        """The device scope of the collectives inside a step."""
        return tf.device(_CPU) if self._on_cpu else contextlib.nullcontext()

    def agree(self, mistake: UserError | None) -> None:
        """Raises the same UserError on every rank if any rank passes one; collective: every rank calls it."""
        self._gather_or_raise(mistake, None)

    def _gather_or_raise(self, mistake: UserError | None, value: Any) -> list[Any]:
        """As `gather`, but raises the same UserError on every rank if any rank passes one."""
        outcomes = self.gather([None if mistake is None else str(mistake), value])
        for rank, (sentence, _) in enumerate(outcomes):
            if sentence is not None:
                if rank != 0:  # rank 0 checks on behalf of all, so its name would mislead
                    sentence = f"rank {rank} (on {self.peers[rank][0]}): {sentence}"
                raise UserError(sentence, agreed=True) from mistake
        return [value for _, value in outcomes]

    @contextlib.contextmanager
    def shared_errors(self) -> Iterator[None]:
        """Raises a UserError that any rank raises inside the block on every rank, at the end of the block."""
        mistake = None
        try:
            yield
        except UserError as error:
            mistake = error
        self.agree(mistake)

    def on_chief(self, work: Callable[[], _Result]) -> _Result | None:
        """Runs `work` on rank 0 only; returns its result there, None elsewhere. A UserError is raised on every rank."""
        result, mistake = self._tried_on_chief(work)
        self.agree(mistake)
        return result

    def from_chief(self, work: Callable[[], Any]) -> Any:
        """As `on_chief`, but returns the result, which must be serialisable as JSON, on every rank."""
        result, mistake = self._tried_on_chief(work)
        return self._gather_or_raise(mistake, result)[0]

    def _tried_on_chief(self, work: Callable[[], _Result]) -> tuple[_Result | None, UserError | None]:
        """The result of `work` on rank 0, None elsewhere; and the UserError that it raised, unknown to other ranks."""
        try:
            return (work() if self.is_chief else None), None
        except UserError as error:
            return None, error

    def done_everywhere(self, work: Callable[[], _Result]) -> _Result:
        """Runs `work` on every rank, and returns or raises its outcome on this one once all ranks have finished."""
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
            thread.shutdown(wait=False)  # a failing job must not wait for it

    def rejoin(self) -> "Cluster":
        """Waits for the workers that the launcher has assigned now, and returns their cluster."""
        self._hvd.shutdown()
        return Cluster(self._launch, self.devices)

    def close(self) -> None:
        """Shuts Horovod down; collective: every rank calls it."""
        if self._connected:
            self._hvd.shutdown()


def _groups(variables: Sequence[Tensor]) -> list[list[Tensor]]:
    """Divides variables, which keep their order, into groups of one dtype and of at most _BROADCAST_BYTES.

    A larger variable is a group of its own.
    """
    groups: list[list[Tensor]] = []
    latest: dict[Any, tuple[list[Tensor], int]] = {}
    for variable in variables:
        size = variable.shape.num_elements() * variable.dtype.size
        group, total = latest.get(variable.dtype, ([], 0))
        if not group or total + size > _BROADCAST_BYTES:
            group, total = [], 0
            groups.append(group)
        group.append(variable)
        latest[variable.dtype] = group, total + size
    return groups
