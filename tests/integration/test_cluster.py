"""Real ranks under real launchers: what they say to each other, and how one that fails ends all."""

import itertools
import json
import re
from pathlib import Path

import pytest

HEAD = """
import json, sys
from pathlib import Path
from cnn.cluster.ranks.run_job import run_job
from cnn.errors import RunError, UserError

def parse():
    return Path(sys.argv[1])
"""

TABLE = """
def body(cluster, folder, job):
    import os
    import keras
    import numpy as np
    import tensorflow as tf
    from cnn.cluster.exchange.exchange import GradientExchange, product
    from cnn.cluster.exchange.exchange_cost import Kernel, sharded_bytes
    from cnn.cluster.ranks.fingerprints import check_in_step
    from cnn.cluster.exchange.sharded_kernel import shard
    from cnn.cluster.exchange.sharded_kernels import ShardedKernels

    rank, seen = cluster.rank, {}
    seen["place"] = [cluster.rank, cluster.world_size, cluster.local_rank, cluster.local_size, cluster.controller]
    seen["peers"] = cluster.peers
    seen["sent at once"] = os.environ.get("OMPI_MCA_btl_tcp_eager_limit")
    seen["gathered"] = cluster.gather({"rank": rank, "text": "grüße" * rank, "empty": None})
    seen["ints"] = cluster.sum(np.array([rank, 2**53 + rank], np.int64)).tolist()
    seen["floats"] = cluster.sum(np.array([0.5 * rank], np.float64)).tolist()

    # Whether a sum is 1 or 0 depends on the order of its three terms.
    seen["long"] = sorted({*cluster.sum(np.full(100_000, [1e8, 1, -1e8][rank], np.float32)).tolist()})

    variables = [tf.Variable([float(rank), 7.0]), tf.Variable(rank), tf.Variable(tf.fill((2, 2), rank == 0))]
    cluster.broadcast(variables)
    seen["broadcast"] = [variable.numpy().tolist() for variable in variables]

    def mistake(text):
        try:
            with cluster.shared_errors():
                if text:
                    raise UserError(text)
        except UserError as error:
            return [str(error), error.agreed]

    seen["no mistake"] = mistake(None)
    seen["of rank 0"] = mistake("mine" if rank == 0 else None)
    seen["of rank 1"] = mistake("mine" if rank == 1 else None)
    seen["of all"] = mistake(f"mine {rank}")

    def values(seed):
        shapes = [(), (1,), (3, 5), (64, 32), (7,), (500,)]
        return [np.random.default_rng([seed, n]).normal(size=shape) for n, shape in enumerate(shapes)]

    def messages(compiled):
        operations = compiled.get_concrete_function().graph.get_operations()
        sums = [each.inputs[0] for each in operations if each.type == "HorovodAllreduce"]
        return [tensor.shape.num_elements() * tensor.dtype.size for tensor in sums]

    # Buckets: of several tensors, of pieces of one that is larger than a bucket, and all in one.
    for kind in ("float32", "float64"):
        for bucket_bytes in (900, 5000, 2**20):
            exchange = GradientExchange(cluster, bucket_bytes=bucket_bytes)
            mine = [tf.constant(value, kind) for value in values(rank)]
            compiled = tf.function(lambda: exchange.sums(mine[:4], mine[4:]))
            results = [b"".join(part.numpy().tobytes() for part in sum(compiled(), [])) for _ in range(20)]
            expected = [np.sum(parts, 0) for parts in zip(*(values(r) for r in range(cluster.world_size)))]
            error = max(np.abs(part.numpy() - right).max() for part, right in zip(sum(compiled(), []), expected))
            shapes = [part.shape.as_list() == mine[n].shape.as_list() for n, part in enumerate(sum(compiled(), []))]
            seen[f"exchange {kind} {bucket_bytes}"] = {
                "different": len(set(results)), "bits": results[0].hex()[:4000], "error": float(error),
                "shapes": all(shapes), "messages": messages(compiled),
            }

    exchange = GradientExchange(cluster, bucket_bytes=900, compressed=True)
    mine = [tf.constant(value, "float32") for value in values(rank)]
    gradients, others = tf.function(lambda: exchange.sums(mine[:4], mine[4:]))()
    seen["compressed"] = [
        max(float(np.abs(part.numpy() - right).max()) for part, right in zip(parts, rights))
        for parts, rights in ((gradients, expected[:4]), (others, expected[4:]))
    ]

    # Products of the factors of all ranks.
    def factor(rank, number, columns, kind):
        return tf.cast(np.random.default_rng([rank, number]).normal(size=(6, columns)), kind)

    for kind in ("float32", "float64", "bfloat16", "float16"):
        exchange = GradientExchange(cluster, frozenset({"a", "b"}), 48 if kind == "float32" else 2**20)
        wide = "float64" if kind == "float64" else "float32"
        mine = [factor(rank, number, columns, kind) for number, columns in enumerate((5, 3, 7, 2))]
        pairs = [mine[:2], mine[2:]]
        compiled = tf.function(lambda: [exchange.product(path, *pair, wide) for path, pair in zip("ab", pairs)])
        results = [each.numpy() for each in compiled()]
        operations = compiled.get_concrete_function().graph.get_operations()
        gathers = [each.inputs[0].shape.as_list() for each in operations if each.type == "HorovodAllgather"]
        error = 0.0
        for number, columns, other, result in ((0, 5, 3, results[0]), (2, 7, 2, results[1])):
            right = sum(
                tf.cast(factor(r, number, columns, kind), "float64").numpy().T
                @ tf.cast(factor(r, number + 1, other, kind), "float64").numpy()
                for r in range(cluster.world_size)
            )
            error = max(error, float(np.abs(result - right).max()))
        bits = b"".join(r.tobytes() for r in results).hex()
        seen[f"products {kind}"] = {"error": error, "bits": bits, "messages": gathers}

    # Seven rows of a kernel, divided among the ranks.
    def rows_of(rank, number, columns, kind):
        return tf.cast(np.random.default_rng([rank, number]).normal(size=(6, columns)), kind)

    def wide(tensor):
        return tf.cast(tensor, "float64").numpy()

    for kind in ("float32", "float64", "bfloat16", "float16"):
        dtype = "float64" if kind == "float64" else "float32"
        with keras.name_scope("fc"):
            kernel = keras.Variable(np.random.default_rng(8).normal(size=(7, 5)), dtype=dtype, name="kernel")
        sharded = shard(cluster, kernel)

        @tf.function(autograph=False)
        def layer(x, upstream):
            columns, partial, outputs = sharded(x)
            loss = tf.reduce_sum(outputs * upstream)
            by_inputs, by_products = tf.gradients(loss, [x, partial])
            return outputs, by_inputs, product(columns, by_products, dtype)

        mine = [rows_of(rank, 20, 7, kind), rows_of(rank, 21, 5, kind)]
        results = [[part.numpy() for part in layer(*mine)] for _ in range(20)]
        outputs, by_inputs, by_rows = layer(*mine)
        short = wide(tf.cast(kernel.value, kind))
        everyone = [[wide(rows_of(r, 20, 7, kind)), wide(rows_of(r, 21, 5, kind))] for r in range(cluster.world_size)]
        rights = [
            wide(mine[0]) @ short, wide(mine[1]) @ short.T, sum(x.T @ upstream for x, upstream in everyone)
        ]
        found = [outputs, by_inputs, sharded.joined(by_rows)]
        before = kernel.value.numpy()
        sharded.rows.assign_add(tf.ones_like(sharded.rows.value))
        sharded.gather()
        slot = sharded.slice_of(keras.Variable(np.zeros(sharded.rows.shape), dtype=dtype))
        slot.scatter(before if rank == 0 else None)
        seen[f"sharded {kind}"] = {
            "errors": [float(np.abs(wide(part) - right).max()) for part, right in zip(found, rights)],
            "different": len({b"".join(part.tobytes() for part in each) for each in results}),
            "path": sharded.rows.path,
            "sent": [sharded.sent_bytes, sharded_bytes(Kernel(path="", inputs=7, outputs=5), 6, cluster.world_size,
                                                       tf.as_dtype(kind).size)],
            "gathered": bool((kernel.value.numpy() == before + 1).all()),
            "scattered": bool((slot.whole().numpy() == before).all()),
            "sums": ShardedKernels([sharded], cluster).completed(
                tf.constant([rank + 1.0, 5.0, 2.0]), ["fc/kernel", "fc/bias", "fc/kernel"], f"test.{kind}"
            ).numpy().tolist(),
        }

    weights = [keras.Variable(np.ones((3, 2)), name="first"), keras.Variable(np.arange(4.0), name="second")]

    def check(step):
        try:
            check_in_step(cluster, weights, step)
        except RunError as error:
            return [str(error), error.agreed]

    seen["in step"] = check(5)
    odd = cluster.world_size - 1
    changed = weights[1].value.numpy()
    changed[2] = np.nextafter(changed[2], np.float32(9))
    if rank == odd:
        weights[1].assign(changed)
    seen["out of step"] = check(6)
    weights[1].assign(changed)
    seen["in step again"] = check(7)
    if rank == odd:
        weights[0].assign(-weights[0])
    seen["out of step in both"] = check(8)
    weights[0].assign(-weights[0] if rank == odd else weights[0])
    weights[1].assign([0.0, 1.0, np.inf, 3.0])
    seen["not finite"] = check(9)
    (folder / f"{rank}.json").write_text(json.dumps(seen))
    (folder / f"{rank}.pid").write_text(str(__import__("os").getpid()))

run_job(parse, body)
"""

PATIENT = """
def body(cluster, folder, job):
    import threading
    from cnn.cluster.ranks import collectives

    collectives._TURN_SECONDS = 0.5
    long = threading.Event()
    done = cluster.done_everywhere(lambda: long.wait(6 * cluster.rank))  # rank 0 has nothing to do
    (folder / f"{cluster.rank}.json").write_text(json.dumps(done))

run_job(parse, body)
"""

FAILING = """
def body(cluster, folder, job):
    import numpy as np
    job.folder = folder
    cluster.gather(None)
    if cluster.rank == 1:
        raise KeyError("unforeseen")
    cluster.sum(np.zeros(3))  # waits for a rank that never comes

run_job(parse, body)
"""


@pytest.mark.parametrize(("launcher", "workers"), [("mpirun", 3), ("horovodrun --gloo", 2)])
def test_what_ranks_say_to_each_other(jobs, tmp_path: Path, launcher: str, workers: int) -> None:
    program = tmp_path / "program.py"
    program.write_text(HEAD + TABLE)
    code, output = jobs.run(program, tmp_path, launcher=launcher, workers=workers)
    assert code == 0, output
    everyone = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(workers)]
    controller = {"mpirun": "mpi", "horovodrun --gloo": "gloo"}[launcher]
    peers = everyone[0]["peers"]
    for rank, seen in enumerate(everyone):
        assert seen["place"] == [rank, workers, rank, workers, controller]
        assert seen["peers"] == peers
        assert seen["sent at once"] == (None if workers == 3 else "1048576")
        assert peers[rank][1] == int((tmp_path / f"{rank}.pid").read_text())
        assert seen["gathered"] == [{"rank": r, "text": "grüße" * r, "empty": None} for r in range(workers)]
        assert seen["ints"] == [sum(range(workers)), workers * 2**53 + sum(range(workers))]
        assert seen["floats"] == [0.5 * sum(range(workers))]
        if launcher == "mpirun":  # in a ring, whose parts begin with one rank each
            assert seen["long"] == [0.0, 1.0]
        assert seen["broadcast"] == [[0.0, 7.0], 0, [[True, True], [True, True]]]
        host = peers[1][0]
        assert seen["no mistake"] is None
        assert seen["of rank 0"] == ["mine", True]
        assert seen["of rank 1"] == [f"rank 1 (on {host}): mine", True]
        assert seen["of all"] == ["mine 0", True]
        for kind, limit in (("float32", 1e-5), ("float64", 1e-13)):
            for bucket_bytes in (900, 5000, 2**20):
                exchanged = seen[f"exchange {kind} {bucket_bytes}"]
                assert exchanged["different"] == 1
                assert exchanged["error"] < limit
                assert exchanged["shapes"]
                if bucket_bytes < 2**20:  # none is larger, and none that could be joined are apart
                    assert max(exchanged["messages"]) <= bucket_bytes
                    assert min(map(sum, itertools.pairwise(exchanged["messages"]))) > bucket_bytes
                assert exchanged["bits"] == everyone[0][f"exchange {kind} {bucket_bytes}"]["bits"]
        compressed, exact = seen["compressed"]
        assert 1e-5 < compressed < 1e-2
        assert exact < 1e-5
        for kind in ("float32", "float64", "bfloat16", "float16"):
            products = seen[f"products {kind}"]
            assert products["error"] < (1e-13 if kind == "float64" else 1e-5), kind
            assert products["bits"] == everyone[0][f"products {kind}"]["bits"]
            # In pieces of about 48 bytes of the inputs, of whole samples, or at once.
            pieces = [(5, [2, 2, 2]), (3, [2, 2, 2]), (7, [1, 2, 1, 2]), (2, [1, 2, 1, 2])]
            whole = [(columns, [6]) for columns, _ in pieces]
            messages = [[rows, columns] for columns, of in (pieces if kind == "float32" else whole) for rows in of]
            assert sorted(products["messages"]) == sorted(messages)
        for kind, limit in (("float32", 1e-5), ("float64", 1e-13), ("bfloat16", 0.1), ("float16", 0.02)):
            sharded = seen[f"sharded {kind}"]
            assert max(sharded["errors"]) < limit, kind
            assert sharded["different"] == 1
            assert sharded["path"] == "fc/kernel"
            assert sharded["sent"][0] == sharded["sent"][1]
            assert sharded["gathered"]
            assert sharded["scattered"]
            assert sharded["sums"] == [workers * (workers + 1) / 2, 5, 2 * workers]
        odd = workers - 1
        assert seen["in step"] is seen["in step again"] is None
        for step, name, variable in ((6, "out of step", "second"), (8, "out of step in both", "first")):
            sentence, agreed = seen[name]
            assert sentence.startswith(f"at step {step} the weights of rank {odd} (on {host}) differ from")
            assert f"first in {variable}:" in sentence
            assert agreed
        sentence, agreed = seen["not finite"]
        assert sentence.startswith("at step 9 second is not finite: training has diverged; ")
        assert agreed


def test_ranks_wait_for_one_that_has_much_to_do_longer_than_for_one_that_is_stalled(jobs, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(HEAD + PATIENT)
    stall = {"HOROVOD_STALL_CHECK_TIME_SECONDS": "1", "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "3"}
    code, output = jobs.run(program, tmp_path, launcher="mpirun", workers=2, **stall)
    assert code == 0, output
    assert all((tmp_path / f"{rank}.json").exists() for rank in range(2))


@pytest.mark.parametrize("launcher", ["mpirun", "horovodrun --gloo"])
def test_unforeseen_exception_of_one_rank_ends_all(jobs, tmp_path: Path, launcher: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(HEAD + FAILING)
    job = jobs.start(program, tmp_path, launcher=launcher, workers=3)
    output, _ = job.communicate(timeout=120)
    assert job.returncode not in (0, None)
    assert "KeyError: 'unforeseen'" in output
    assert "Traceback" in output  # of this one a developer wants to see all
    reasons = (tmp_path / "failure.log").read_text().splitlines()
    assert [line for line in reasons if re.search(r" rank 1 on \S+: KeyError: 'unforeseen'$", line)], reasons
    for line in reasons:  # the others name that one as the cause, if they come to speak
        assert " rank 1 on " in line or "rank 1 (process" in line or "another rank was lost" in line, reasons
