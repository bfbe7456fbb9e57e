"""The circumstances of a run for which no cause of slow steps is special."""

from cnn.monitoring.timing.bottlenecks import Circumstances

ALONE = Circumstances(
    hosts=["a"],
    samples=32,
    weights=1_000_000,
    multiply_adds=10_000_000,
    sent_bytes=0,
    streamed_mb=0,
    decodes_jpeg=False,
    spare_mb=1000,
    can_compress=False,
    can_factor=False,
)
"""Of one worker, whose images are in memory."""
