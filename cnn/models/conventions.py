"""Details in which published networks differ from this package's, though the layers have the same shapes."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conventions:
    """How a network is computed, beyond its layers' shapes."""

    pads_evenly: bool = False
    """Whether a padded convolution or pooling with a stride gets as much padding before the maps as after them.
    TensorFlow's padding "same" puts none before maps of even size."""

    stride_comes_first: bool = False
    """Whether a bottleneck has its stride in the first 1x1 convolution, as in He et al., 2015, instead of the 3x3."""

    momentum: float = 0.9
    """Decay of batch normalisation's moving statistics per step."""

    epsilon: float = 1e-5
    """Constant that batch normalisation adds to the variance."""


CONVENTIONS = {
    "own": Conventions(),
    "torch": Conventions(pads_evenly=True),
    "keras": Conventions(pads_evenly=True, stride_comes_first=True, momentum=0.99, epsilon=1.001e-5),
}
"""By name: torch are those of torchvision and timm, keras those of Keras Applications."""
