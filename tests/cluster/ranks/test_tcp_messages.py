"""The variables by which Open MPI sends long messages over TCP without being asked for them."""

import os
import subprocess
import sys
from pathlib import Path

from cnn.cluster.ranks.tcp_messages import use_both_directions


def test_open_mpi_takes_the_values() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OMPI_MCA_btl_tcp_")}
    use_both_directions(4, environ)
    command = [Path(sys.prefix) / "bin" / "ompi_info", "--param", "btl", "tcp", "--level", "9", "--parsable"]
    listed = subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout.splitlines()
    values = [line.removeprefix("mca:btl:tcp:param:btl_tcp_") for line in listed if ":value:" in line]
    assert {
        "flags:value:send,inplace,need-ack,need-csum",
        "eager_limit:value:1048576",
        "rndv_eager_limit:value:1048576",
        "max_send_size:value:1048576",
    } <= set(values)


def test_the_user_chooses() -> None:
    environ = {"OMPI_MCA_btl_tcp_max_send_size": "131072"}
    use_both_directions(4, environ)
    assert environ == {"OMPI_MCA_btl_tcp_max_send_size": "131072"}


def test_in_a_ring_open_mpi_chooses() -> None:
    environ: dict[str, str] = {}
    use_both_directions(6, environ)
    assert environ == {}
