"""The floating-point arithmetic of training."""

PRECISIONS = {
    "float32": "float32",
    "tensorfloat32": "float32",
    "float64": "float64",
    "mixed_bfloat16": "float32",
    "mixed_float16": "float32",
}
"""By name, the type of images, weights, losses, gradients and their exchange. Mixed precisions compute most of a
network in the type in their name; tensorfloat32 lets GPUs round the factors of products to 10 bits."""


def use_precision(precision: str) -> None:
    """Sets the precision of networks and optimizers that are built later, and makes sums have a fixed order."""
    import keras  # takes seconds, which programs that only need the names save
    import tensorflow as tf

    short_factors = precision == "tensorfloat32"  # the default on GPUs, so it must be switched off too
    tf.config.experimental.enable_tensor_float_32_execution(short_factors)
    # This optimization turns a + b + c into AddN, which starts with any summand that it may overwrite: which one that
    # is, and so the sum's last bits, depends on which operations have finished.
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    keras.config.set_floatx(PRECISIONS[precision])
    keras.config.set_dtype_policy(PRECISIONS[precision] if short_factors else precision)
