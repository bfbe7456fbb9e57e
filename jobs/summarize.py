"""Shows a network layer by layer: output shapes, parameters, multiply-adds, memory.

python jobs/summarize.py --model vgg16
python jobs/summarize.py --model lenet5 --image_size 28 --channels 1 --classes 10
python jobs/summarize.py --output_sizes
"""

import cnn  # noqa: F401  # first, so that Ctrl-C during later imports prints no traceback

# isort: split
import dataclasses

from cnn.choices import check_counts
from cnn.errors import report_errors
from cnn.models.registry import ModelSettings, build_network
from cnn.quiet_import import import_tensorflow_quietly
from cnn.settings.settings import parse_settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """The input and the output."""

    image_size: int = 224
    """Side length of the images in pixels."""

    channels: int = 3
    """1 for grey images, 3 for colour images."""

    classes: int = 1000
    """Number of classes."""

    output_sizes: bool = False
    """Instead show how a convolution's output size follows from kernel, stride and padding."""

    def __post_init__(self) -> None:
        check_counts(self, "image_size", "channels", "classes")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a summary."""

    model: ModelSettings
    image: ImageSettings


def main() -> None:
    settings = parse_settings(str(__doc__), Settings)
    import_tensorflow_quietly()
    from cnn.models.layer_table import layer_rows, layer_table, output_size_table

    image = settings.image
    if image.output_sizes:
        print(output_size_table())
        return
    shape = (image.image_size, image.image_size, image.channels)
    print(layer_table(layer_rows(build_network(settings.model, shape, image.classes, seed=1))))


if __name__ == "__main__":
    with report_errors():
        main()
