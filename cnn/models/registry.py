"""Every network by name. A new one is a row here, and a file if it is of a new family."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from cnn.errors import UserError, check_choice

if TYPE_CHECKING:  # Keras takes seconds to import; names and settings are needed before
    import keras


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The network."""

    model: str = "lenet5-like"
    """The network: fcnn, lenet5 (sigmoid) or lenet5-like (ReLU and dropout)."""

    dropout: float | None = None
    """Share of units dropped after a fully connected layer; each network has its own default."""

    def __post_init__(self) -> None:
        check_choice("model", self.model, NETWORKS)
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UserError(f"--dropout {self.dropout} is not in [0, 1): give the share of units to drop, 0.5 say.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """A row of the registry."""

    build: Callable[[tuple[int, int, int], int, float], "keras.Model"]
    """(image_shape, classes, dropout) to a model that gives logits."""

    smallest_image: int
    """Side, in pixels, of the smallest square image that leaves at least one pixel everywhere."""

    dropout: float = 0.0


def _fcnn(image_shape: tuple[int, int, int], classes: int, dropout: float) -> "keras.Model":
    from cnn.models import fcnn

    return fcnn.build(image_shape, classes)


def _lenet5(image_shape: tuple[int, int, int], classes: int, dropout: float) -> "keras.Model":
    from cnn.models import lenet

    return lenet.build(image_shape, classes, name="lenet5", activation="sigmoid", dropout=dropout)


def _lenet5_like(image_shape: tuple[int, int, int], classes: int, dropout: float) -> "keras.Model":
    from cnn.models import lenet

    return lenet.build(image_shape, classes, name="lenet5-like", activation="relu", dropout=dropout)


NETWORKS = {
    "fcnn": Network(build=_fcnn, smallest_image=1),
    "lenet5": Network(build=_lenet5, smallest_image=12),
    "lenet5-like": Network(build=_lenet5_like, smallest_image=12, dropout=0.25),
}


def check_image_size(name: str, image_shape: tuple[int, int, int]) -> None:
    """Raises UserError when a side of the images is too small for the network."""
    height, width, _ = image_shape
    smallest = NETWORKS[name].smallest_image
    if min(height, width) < smallest:
        raise UserError(
            f"{name} cannot take images of {height}x{width} pixels: the smallest it can is {smallest}x{smallest}; "
            "choose another network or larger images."
        )


def build_network(settings: ModelSettings, image_shape: tuple[int, int, int], classes: int, seed: int) -> "keras.Model":
    """Builds the network with weights that follow from `seed`.

    Args:
        settings: which network.
        image_shape: (height, width, channels).
        classes: number of logits.
        seed: of the initial weights.

    Raises:
        UserError: the images are too small.
    """
    check_image_size(settings.model, image_shape)
    import keras

    network = NETWORKS[settings.model]
    keras.utils.set_random_seed(seed)
    dropout = network.dropout if settings.dropout is None else settings.dropout
    return network.build(image_shape, classes, dropout)
