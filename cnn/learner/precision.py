"""The arithmetic that networks are trained in."""

PRECISIONS = {
    "float32": "float32",
    "tensorfloat32": "float32",
    "float64": "float64",
    "mixed_bfloat16": "float32",
    "mixed_float16": "float32",
}
"""By name, the type of images, weights, losses, gradients and their exchange. The mixed ones compute most of a network
in the other type that they are named after; tensorfloat32 lets GPUs shorten the factors of products to 10 bits."""


def use_precision(precision: str) -> None:
    """Makes networks and optimizers that are built from now on hold and compute in it, and add up in a fixed order."""
    import keras  # seconds that programs which only need the names need not wait
    import tensorflow as tf

    short_factors = precision == "tensorfloat32"  # which GPUs would use unasked
    tf.config.experimental.enable_tensor_float_32_execution(short_factors)
    # It turns a + b + c into AddN, which begins with whichever summand it may overwrite: that, and so the last bits of
    # the sum, depends on which operations have ended before.
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    keras.config.set_floatx(PRECISIONS[precision])
    keras.config.set_dtype_policy(PRECISIONS[precision] if short_factors else precision)
