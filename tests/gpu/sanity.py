"""Does the GPU compute what the processor computes in float64? The operations of the networks, one by one.

python -m tests.gpu.sanity [--device DEVICE] [--json FILE]

Also reports which operations give other bits the second time, and the speed of one large matrix product. Exit code 0
when all results agree, 1 when one does not, 4 when there is no GPU.
"""

import argparse
import contextlib
import functools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from cnn.cluster.launchers.process import ALONE
from cnn.cluster.ranks.collectives import Cluster
from cnn.keyed_random import hash_tensor
from cnn.models.layers import LocalResponseNormalization

LIMITS = {"float64": 1e-12, "float32": 2e-5, "tensorfloat32": 3e-3, "mixed_bfloat16": 3e-2, "mixed_float16": 5e-3}
"""Of the difference's length, as a share of the expected tensor's."""

TYPES = {"float64": tf.float64, "mixed_bfloat16": tf.bfloat16, "mixed_float16": tf.float16}
"""What is computed in, where it is not float32."""

PROCESSOR = "CPU:0"

Function = Callable[..., Sequence[Any]]
Row = dict[str, Any]


def with_gradients(function: Callable[..., Any], *values: Any) -> list[Any]:
    """The function's result, and the gradients of a sum of it by its arguments."""
    with tf.GradientTape() as tape:
        tape.watch(values)
        result = function(*values)
        signs = np.random.default_rng(11).choice((-1.0, 1.0), result.shape)  # sums stay small, in float16 too
        total = tf.reduce_sum(result * tf.constant(signs, result.dtype))
    return [result, *tape.gradient(total, values)]


def _convolved(images: Any, kernel: Any, stride: int, padding: str) -> Any:
    return tf.nn.conv2d(images, kernel, stride, padding)


def _max_pooled(images: Any) -> Any:
    return tf.nn.max_pool2d(images, 3, 2, "VALID")


def _average_pooled(images: Any) -> Any:
    return tf.nn.avg_pool2d(images, 2, 2, "VALID")


def _cross_entropy(logits: Any) -> Any:
    labels = np.random.default_rng(0).integers(0, logits.shape[1], logits.shape[0], np.int32)
    logits = logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32)  # as the step does
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def _moments(maps: Any) -> list[Any]:
    return list(tf.nn.moments(maps, (1, 2)))


def operations() -> Iterator[tuple[str, Function, list[tuple[int, ...]]]]:
    """The name of each, a function that gives the tensors to compare, and the shapes of its arguments."""

    def both(function: Callable[..., Any], **options: Any) -> Function:
        return functools.partial(with_gradients, functools.partial(function, **options))

    large, small = both(_convolved, stride=4, padding="VALID"), both(_convolved, stride=1, padding="SAME")
    halved = both(_convolved, stride=2, padding="SAME")
    yield "matrix product 512x1024x768", both(tf.matmul), [(512, 1024), (1024, 768)]
    yield "convolution 3x3, 64 to 128", small, [(8, 56, 56, 64), (3, 3, 64, 128)]
    yield "convolution 11x11, stride 4, 3 to 96", large, [(4, 224, 224, 3), (11, 11, 3, 96)]
    yield "convolution 7x7, stride 2, 3 to 64", halved, [(4, 224, 224, 3), (7, 7, 3, 64)]
    yield "convolution 1x1, stride 2, 256 to 512", halved, [(4, 28, 28, 256), (1, 1, 256, 512)]
    yield "max pooling 3, stride 2", both(_max_pooled), [(8, 55, 55, 64)]
    yield "average pooling", both(_average_pooled), [(8, 32, 32, 16)]
    yield "bias", both(tf.nn.bias_add), [(64, 28, 28, 128), (128,)]
    yield "moments", _moments, [(32, 28, 28, 64)]
    yield "softmax and cross-entropy", both(_cross_entropy), [(256, 10)]


def compare(name: str, function: Function, shapes: Sequence[tuple[int, ...]], precision: str, device: str) -> Row:
    """Computes an operation on the processor in float64 and twice on the device, from the same numbers."""
    kind = TYPES.get(precision, tf.float32)
    compiled = tf.function(function, autograph=False)
    with tf.device(PROCESSOR):
        exact = [tf.cast(tf.cast(values, kind), tf.float64) for values in _arguments(shapes)]
        expected = [each.numpy() for each in compiled(*exact)]
    with tf.device(device):
        given = [tf.cast(values, kind) for values in exact]
        first, again = compiled(*given), compiled(*given)
    same = all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    got = [tf.cast(each, tf.float64).numpy() for each in first]
    error = max(_distance(one, other) for one, other in zip(got, expected, strict=True))
    places = {each.device.rpartition("device:")[2] for each in first} - {device}
    notes = ["" if same else "other bits the second time", f"computed on {', '.join(places)}" if places else ""]
    return row(name, precision, error, LIMITS[precision], " ".join(filter(None, notes)))


def _arguments(shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Images or features, and kernels that keep their size."""
    random = np.random.default_rng(7)
    values = [random.standard_normal(shape) for shape in shapes]
    return [values[0], *(each / math.sqrt(math.prod(each.shape[:-1])) for each in values[1:])]


def _distance(values: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(values - expected)) / max(float(np.linalg.norm(expected)), 1e-30)


def row(name: str, precision: str, error: float, limit: float, note: str = "") -> Row:
    """A result; NaN does not hold."""
    return {"what": name, "precision": precision, "error": error, "holds": error <= limit, "note": note}


def compare_hash(device: str) -> Row:
    """Dropout's hash must have the same bits everywhere."""
    keys = tf.constant(np.random.default_rng(3).integers(0, 2**32, 256, np.uint32))
    hashes = []
    for place in (PROCESSOR, device):
        with tf.device(place):
            hashes.append(tf.function(lambda: hash_tensor(keys, 4096, 12345), autograph=False)().numpy())
    return row("dropout's hash, bits that differ", "uint32", float((hashes[0] != hashes[1]).sum()), 0.0)


def compare_local_response_normalisation(device: str) -> Row:
    """The layer on the device, and TensorFlow's own operation on the processor."""
    maps = np.random.default_rng(4).standard_normal((4, 27, 27, 96)).astype(np.float32)
    with tf.device(PROCESSOR):
        expected = tf.nn.local_response_normalization(maps, 2, 2.0, 1e-4, 0.75).numpy()
    with tf.device(device):
        got = LocalResponseNormalization(dtype="float32")(tf.constant(maps)).numpy()
    return row("local response normalisation", "float32", _distance(got, expected), LIMITS["float32"])


def compare_all(device: str, precisions: Sequence[str] = tuple(LIMITS)) -> Iterator[Row]:
    """Every comparison; one that fails is reported, and the next is tried."""
    yield compare_hash(device)
    yield compare_local_response_normalisation(device)
    for precision in precisions:
        with _short_factors(precision == "tensorfloat32"):
            for name, function, shapes in operations():
                try:
                    yield compare(name, function, shapes, precision, device)
                except tf.errors.OpError as error:
                    yield row(name, precision, math.nan, 0.0, str(error).splitlines()[0][:160])


@contextlib.contextmanager
def _short_factors(wanted: bool) -> Iterator[None]:
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(wanted)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def product_rates(side: int) -> dict[str, float]:
    """TFLOP/s of a matrix product on TensorFlow's first device, by precision."""
    rates = {}
    for precision in LIMITS:
        kind = TYPES.get(precision, tf.float32)
        size = side // 2 if kind == tf.float64 else side  # of which a GPU may compute little
        with _short_factors(precision == "tensorfloat32"):
            values = tf.cast(tf.random.normal((size, size)), kind)
            multiply = tf.function(lambda values=values: tf.matmul(values, values)[0, 0], autograph=False)
            multiply().numpy()
            begin = time.perf_counter()
            for _ in range(9):
                multiply()
            multiply().numpy()
            rates[precision] = 10 * 2 * size**3 / (time.perf_counter() - begin) / 1e12
    return rates


def main() -> None:
    """Compares, prints and exits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="GPU:0", help="what is compared with the processor")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    tf.get_logger().setLevel("ERROR")  # it warns of compiling many functions, which is what is done here
    begin = time.monotonic()
    Cluster(ALONE)  # which takes the GPU's memory as needed
    built, gpus = tf.sysconfig.get_build_info(), tf.config.list_physical_devices("GPU")
    print("TensorFlow", tf.__version__, "CUDA", built.get("cuda_version"), "cuDNN", built.get("cudnn_version"), gpus)
    if not gpus and given.device.startswith("GPU"):
        print("there is no GPU that TensorFlow can use")
        sys.exit(4)
    found = []
    for each in compare_all(given.device):
        found.append(each)
        verdict = "" if each["holds"] else "WRONG"
        print(f"{each['what']:<40} {each['precision']:<16} {each['error']:.1e} {verdict} {each['note']}", flush=True)
    wrong = sum(not each["holds"] for each in found)
    rates = product_rates(8192 if gpus else 512)
    print("TFLOP/s of one large product:", {name: round(rate, 1) for name, rate in rates.items()})
    print(f"{wrong} of {len(found)} do not agree")
    if given.json:
        seconds = round(time.monotonic() - begin, 1)
        given.json.write_text(json.dumps([*found, {"what": "TFLOP/s", "rates": rates, "seconds": seconds}], indent=1))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
