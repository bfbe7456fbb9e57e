"""What a benchmark of two workers may have measured."""

from cnn.cluster.exchange.exchange_cost import Kernel, Rates
from cnn.measuring.measured import Measured
from cnn.measuring.step_prediction import Layer

RATES = Rates(latency=0.001, sent_per_second=1e9, gathered_per_second=1e9, multiply_adds_per_second=1e10)
MEASURED = Measured(
    workers=2,
    global_batch_size=64,
    images_per_second=100.0,
    spread=0.01,
    step_seconds=0.64,
    input_seconds=0.01,
    compute_seconds=0.5,
    update_seconds=0.03,
    exchange_seconds=0.1,
    sent_bytes=1_000_000,
    peak_bytes=2**30,
    share_of_peak=0.5,
    rates=RATES,
    factored=["fc/kernel"],
    sharded=[],
    multiply_adds_per_second=1e10,
    layers=[
        Layer(name="conv", parameters=9, multiply_adds=90),
        Layer(name="fc", parameters=6, multiply_adds=6, kernel=Kernel(path="fc/kernel", inputs=2, outputs=3)),
    ],
)
