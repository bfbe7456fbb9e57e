"""How Open MPI sends long messages over TCP.

By default (`put` among the flags), the receiver of a long message requests it. Between two ranks that send to each
other, this request waits in the connection behind the data that the receiver is itself sending. As soon as one of them
is late, for example because its core computes, they send alternately, and use half of the link. Without `put`, a
message longer than the limits still waits for one acknowledgement, so these are a mebibyte: that much is sent at once.

Two ranks with a core each added up messages of 4 MiB at 1 Gbit/s at 119 MB/s instead of 67 while idle, and at 105
instead of 60 while computing; four ranks on two cores, idle, at 79 instead of 45. At 5 Gbit/s, messages of 16 MiB took
0.65 times as long while computing. Without any limit, the receiver's additional copy costs up to 8 % of the rate while
idle. In a ring, where no two ranks send to each other, it would cost up to a quarter, and little is gained.

Each message that a rank sends or has not yet received takes up to a mebibyte, as many as there are ranks in an
all-to-all exchange. Other transports (shared memory, NCCL, Gloo) are not affected.
"""

from collections.abc import MutableMapping

from cnn.cluster.ranks.allreduce_rules import in_ring

_AT_ONCE = str(1 << 20)

_VARIABLES = {
    "OMPI_MCA_btl_tcp_flags": "send,inplace,need-ack,need-csum",  # the default flags but put and hetero-rdma
    "OMPI_MCA_btl_tcp_eager_limit": _AT_ONCE,
    "OMPI_MCA_btl_tcp_rndv_eager_limit": _AT_ONCE,
    "OMPI_MCA_btl_tcp_max_send_size": _AT_ONCE,
}


def use_both_directions(world_size: int, environ: MutableMapping[str, str]) -> None:
    """Sets the variables before MPI is initialised, if pairs of ranks add up what they have.

    If the user has set one of them, none is set here: the limits depend on each other.
    """
    if not in_ring(world_size) and not _VARIABLES.keys() & environ.keys():
        environ.update(_VARIABLES)
