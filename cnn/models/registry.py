"""The table of networks by name. A new network needs a row here, and a file if its family is new."""

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any

from cnn.choices import check_choice, one_of, own_default
from cnn.errors import UserError
from cnn.models.conventions import CONVENTIONS

if TYPE_CHECKING:  # Keras takes seconds to import; names and settings are needed before
    import keras


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The network."""

    model: str = one_of(lambda: NETWORKS, "lenet5-like")
    """Name of the network. lenet5 has sigmoids, lenet5-like ReLU and dropout; -bn means with batch normalisation, -32
    for images of 32x32 pixels."""

    dropout: float | None = own_default(lambda: f"that of the network: {_dropout_rates()}")
    """Fraction of units dropped after a fully connected layer."""

    conventions: str | None = own_default(lambda: "those of a file of published weights to start from, otherwise own")
    """Details in which published ResNets differ from this project's, such as their padding: own, torch (torchvision
    and timm) or keras (Keras Applications)."""

    def __post_init__(self) -> None:
        check_choice("model", self.model, NETWORKS)
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UserError(f"--dropout {self.dropout} is not in [0, 1): give the fraction to drop, for example 0.5.")
        if self.dropout is not None and NETWORKS[self.model].dropout is None:
            raise UserError(f"--dropout {self.dropout} is set, but {self.model} has no dropout: leave it out.")
        if self.conventions is not None:
            check_choice("conventions", self.conventions, CONVENTIONS)
            if not NETWORKS[self.model].has_conventions:
                raise UserError(
                    f"--conventions {self.conventions} is set, but the published {self.model} is like this project's: "
                    "leave it out."
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """A row of the registry."""

    family: str
    """The module in cnn/models whose `build` makes the network."""

    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of `build` other than image_shape, classes and dropout."""

    smallest_image: int
    """Side in pixels of the smallest square image that leaves at least one pixel for every layer."""

    dropout: float | None = None
    """The default dropout rate; None for a network without dropout."""

    has_conventions: bool = False
    """Whether `build` has the argument `conventions`, because published networks differ in these details."""


def _vgg(layers: int, *, normalised: bool = False, small_images: bool = False) -> Network:
    name = f"vgg{layers}{'-bn' * normalised}{'-32' * small_images}"
    options = {"name": name, "layers": layers, "normalised": normalised, "small_images": small_images}
    return Network(family="vgg", options=options, smallest_image=32, dropout=0.5)


def _resnet(layers: int, *, small_images: bool = False) -> Network:
    name = f"resnet{layers}{'-32' * small_images}"
    options = {"name": name, "layers": layers, "small_images": small_images}
    return Network(family="resnet", options=options, smallest_image=1, has_conventions=True)


def _by_name(*networks: Network) -> dict[str, Network]:
    return {network.options["name"]: network for network in networks}


NETWORKS: dict[str, Network] = {
    "fcnn": Network(family="fcnn", smallest_image=1),
    **_by_name(
        Network(family="lenet", options={"name": "lenet5", "activation": "sigmoid"}, smallest_image=12, dropout=0.0),
        Network(family="lenet", options={"name": "lenet5-like", "activation": "relu"}, smallest_image=12, dropout=0.25),
        Network(family="alexnet", options={"name": "alexnet", "normalised": False}, smallest_image=57, dropout=0.5),
        Network(family="alexnet", options={"name": "alexnet-bn", "normalised": True}, smallest_image=57, dropout=0.5),
    ),
    "zfnet": Network(family="zfnet", smallest_image=57, dropout=0.5),
    **_by_name(*(_vgg(layers, normalised=normalised) for normalised in (False, True) for layers in (11, 13, 16, 19))),
    **_by_name(_vgg(16, normalised=True, small_images=True)),
    **_by_name(
        Network(family="googlenet", options={"name": "googlenet", "normalised": False}, smallest_image=65, dropout=0.4),
        Network(
            family="googlenet", options={"name": "googlenet-bn", "normalised": True}, smallest_image=79, dropout=0.2
        ),
    ),
    "mobilenet": Network(family="mobilenet", smallest_image=1),
    **_by_name(*(_resnet(layers) for layers in (18, 34, 50, 101, 152)), _resnet(18, small_images=True)),
}


def _dropout_rates() -> str:
    rates = sorted({row.dropout for row in NETWORKS.values() if row.dropout is not None})
    return "; ".join(
        f"{rate:g} for {', '.join(name for name, row in NETWORKS.items() if row.dropout == rate)}" for rate in rates
    )


def check_image_size(name: str, image_shape: tuple[int, int, int]) -> None:
    """Raises UserError, naming the smallest size, if a side of the images is too small for the network."""
    height, width = image_shape[:2]
    smallest = NETWORKS[name].smallest_image
    if min(height, width) >= smallest:
        return
    from cnn.models.blocks import ImageTooSmallError  # imports Keras

    layer = ""
    try:
        _build(ModelSettings(model=name), image_shape, classes=2)
    except ImageTooSmallError as error:
        layer = f" (too few are left for the layer {error.layer})"
    raise UserError(
        f"{name} cannot take images of {height}x{width} pixels{layer}: the smallest size is {smallest}x{smallest}; "
        "choose another network or larger images."
    )


def build_network(settings: ModelSettings, image_shape: tuple[int, int, int], classes: int, seed: int) -> "keras.Model":
    """Builds the network with initial weights drawn from `seed`.

    Args:
        settings: the network's name, dropout rate and conventions.
        image_shape: (height, width, channels).
        classes: number of classes.
        seed: seed of the initial weights.

    Returns:
        A model from images to logits (samples, classes), or to a list of these and auxiliary logits.

    Raises:
        UserError: the images are too small.
    """
    check_image_size(settings.model, image_shape)
    import keras

    keras.utils.set_random_seed(seed)
    model = _build(settings, image_shape, classes)
    check_layers(model)
    return model


def check_layers(model: "keras.Model") -> None:
    """Raises TypeError if a layer of Keras has state, which would differ between workers.

    Such state is the random generator of dropout and the moving statistics of batch normalisation.
    """
    for layer in model._flatten_layers(include_self=False):
        if layer.non_trainable_variables and not type(layer).__module__.startswith("cnn."):
            raise TypeError(
                f"{layer.name} of {model.name} is a {type(layer).__name__} of Keras, whose state would differ between "
                "workers: use Dropout (cnn/models/layers.py) or GroupBatchNormalization, or write such a layer."
            )


def looks_at_groups(model: "keras.Model") -> bool:
    """Whether a layer of the network processes samples in groups, as batch normalisation does unless it is frozen."""
    return any(
        layer.trainable and getattr(layer, "looks_at_groups", False)
        for layer in model._flatten_layers(include_self=False)
    )


def _build(settings: ModelSettings, image_shape: tuple[int, int, int], classes: int) -> "keras.Model":
    network = NETWORKS[settings.model]
    module = importlib.import_module(f"cnn.models.{network.family}")  # Keras takes seconds; names are needed before
    options = dict(network.options)
    if network.dropout is not None:
        options["dropout"] = network.dropout if settings.dropout is None else settings.dropout
    if network.has_conventions:
        options["conventions"] = CONVENTIONS[settings.conventions or "own"]
    model: keras.Model = module.build(image_shape, classes, **options)
    return model
