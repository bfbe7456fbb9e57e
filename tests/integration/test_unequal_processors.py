"""Ranks whose processors have other instructions: oneDNN's choice of these is what an environment variable limits."""

import json
from pathlib import Path

import pytest

PROGRAM = """
import json, os, sys
from pathlib import Path

if os.environ["OMPI_COMM_WORLD_RANK"] in sys.argv[2].split(","):
    os.environ["ONEDNN_MAX_CPU_ISA"] = "SSE41"

from cnn.cluster.ranks.run_job import run_job

def body(cluster, settings, job):
    import keras
    import numpy as np
    from cnn.cluster.exchange.exchange_cost import ExchangeSettings
    from cnn.errors import UserError
    from cnn.data.order import SampleOrder
    from cnn.models.dense import Dense
    from cnn.learner.exchange_selection import choose_exchange
    from cnn.learner.ordered_exchange_selection import choose_ordered_exchange

    inputs = keras.Input((3000,))
    outputs = Dense(5, name="logits")(Dense(2000, name="hidden")(inputs))
    model = keras.Model(inputs, outputs)
    # As a link of 1 MB/s would be measured, where factors are worth it.
    rates = {"latency": 1e-3, "sent_per_second": 1e6, "gathered_per_second": 1e6, "multiply_adds_per_second": 1e10}
    earlier = {"world_size": cluster.world_size, "rates": rates}
    seen = {}
    for how in ("auto", "factored", "allreduce"):
        try:
            chosen = choose_exchange(cluster, ExchangeSettings(exchange=how), model, 8, earlier)
            seen[how] = [chosen.record["factored"], chosen.message, sorted(chosen.exchange.factored)]
        except UserError as error:
            seen[how] = [str(error), error.agreed]
    try:
        order = SampleOrder(np.arange(24), 24, seed=1, group_size=4)
        seen["reproducible"] = choose_ordered_exchange(cluster, ExchangeSettings(), model, order).record["factored"]
    except UserError as error:
        seen["reproducible"] = [str(error), error.agreed]
    Path(sys.argv[1], f"{cluster.rank}.json").write_text(json.dumps(seen))

run_job(lambda: None, body)
"""

ODD = "have different processors or numbers of threads, so their products differ in the last digits"


@pytest.mark.parametrize("limited", ["2", "0,1,2"])
def test_factors_are_exchanged_only_where_all_ranks_compute_the_same_products(
    jobs, tmp_path: Path, limited: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    code, output = jobs.run(program, tmp_path, limited, launcher="mpirun", workers=3)
    assert code == 0, output
    everyone = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(3)]
    assert everyone[0] == everyone[1] == everyone[2]
    seen = everyone[0]
    assert seen["allreduce"] == [[], "", []]
    if limited == "0,1,2":
        assert seen["reproducible"] == ["hidden/kernel"]
        assert seen["auto"] == [["hidden/kernel"], "", ["hidden/kernel"]]
        assert seen["factored"] == [["hidden/kernel", "logits/kernel"], "", ["hidden/kernel", "logits/kernel"]]
        return
    assert seen["reproducible"] == [
        "--reproducible needs the same kind of processor for every worker, but rank 2 has ONEDNN_MAX_CPU_ISA SSE41 "
        "(rank 0: none): use hosts of one kind, or leave --reproducible out.",
        True,
    ]
    assert seen["auto"][0] == seen["auto"][2] == []
    assert seen["auto"][1].startswith("rank 2 (on ")
    assert seen["auto"][1].endswith(f"{ODD}: gradients are summed instead of being exchanged as factors.")
    sentence, agreed = seen["factored"]
    assert sentence.startswith("--exchange factored cannot work: rank 2 (on ")
    assert sentence.endswith(f"{ODD}; choose --exchange auto.")
    assert agreed
