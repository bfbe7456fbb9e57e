"""Files of published weights: the network computes what the library that wrote the file computes."""

import functools
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file

from cnn.data.preprocessing import PREPROCESSING
from cnn.errors import UserError
from cnn.models.published_layouts import LAYOUTS
from cnn.models.published_weights import layout_of, read_published
from cnn.models.registry import NETWORKS, ModelSettings, build_network

SHAPE = (40, 40, 3)
IMAGES = np.random.default_rng(1).integers(0, 256, (2, *SHAPE)).astype(np.uint8)


def ours(model: str, classes: int = 5, conventions: str | None = None, side: int = SHAPE[0]) -> keras.Model:
    return build_network(ModelSettings(model=model, conventions=conventions), (side, side, 3), classes, seed=3)


def load(path: Path, model: str, network: keras.Model) -> tuple[str, ...]:
    """Loads a file; returns the layers that are new."""
    published = read_published(path, model, network)
    for variable in network.variables:
        if variable.path in published.values:
            variable.assign(published.values[variable.path])
    return published.new


def standardised(images: np.ndarray, preprocessing: str) -> np.ndarray:
    mean, deviation = PREPROCESSING[preprocessing]
    return ((images / 255 - mean) / deviation).astype(np.float32)


def assert_equal(mine: object, theirs: object) -> None:
    mine, theirs = np.asarray(mine), np.asarray(theirs)
    assert np.abs(theirs).max() > 1e-3
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


def randomise(model: keras.Model) -> keras.Model:
    """Gives a network weights that differ from their initial values in all layers."""
    random = np.random.default_rng(2)
    for variable in model.variables:
        draws = random.uniform(0.5, 1.5, variable.shape)
        if variable.name not in ("kernel", "gamma", "moving_variance"):
            variable.assign(draws - 1)
        elif variable.name != "kernel":
            variable.assign(draws)
    return model


@pytest.fixture(scope="module")
def keras_resnet(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Path]:
    """Keras Applications' ResNet-50, and its file in the form in which whole models are saved."""
    model = keras.applications.ResNet50(weights=None, input_shape=SHAPE, classes=5, classifier_activation=None)
    path = tmp_path_factory.mktemp("weights") / "resnet50.h5"
    randomise(model).save(path)
    return model, path


def test_a_resnet_of_keras(keras_resnet: tuple[keras.Model, Path]) -> None:
    theirs, path = keras_resnet
    network = ours("resnet50", conventions="keras")
    assert load(path, "resnet50", network) == ()
    pixels = keras.applications.resnet.preprocess_input(IMAGES.astype(np.float32))
    assert_equal(network(standardised(IMAGES, "caffe")), theirs(pixels))


def test_a_vgg_of_keras(tmp_path: Path) -> None:
    """In the form in which Keras Applications' files are published, with and without the classifier."""
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    theirs = keras.applications.VGG16(weights=None, input_shape=SHAPE, classes=5, classifier_activation=None)
    path = tmp_path / "vgg16.h5"
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, randomise(theirs))
    network = ours("vgg16")
    assert load(path, "vgg16", network) == ()
    pixels = keras.applications.vgg16.preprocess_input(IMAGES.astype(np.float32))
    assert_equal(network(standardised(IMAGES, "caffe")), theirs(pixels))
    with h5py.File(path, "a") as file:
        names = [name for name in file.attrs["layer_names"] if name not in ("fc1", "fc2", "predictions")]
        file.attrs["layer_names"] = names
    assert load(path, "vgg16", network) == ("fc1", "fc2", "logits")


def torch_arrays(network: keras.Model, library: str, model: str) -> dict[str, np.ndarray]:
    """Random arrays by the library's names, in PyTorch's order of dimensions."""
    random, row = np.random.default_rng(4), NETWORKS[model]
    [layout] = [each for each in LAYOUTS if library in each.library and each.family == row.family]
    arrays: dict[str, np.ndarray] = {}
    for own, theirs in layout.layers(row.options).items():
        weights = {each.name: tuple(each.shape) for each in network.get_layer(own).weights}
        if "kernel" in weights:
            *window, inputs, outputs = weights["kernel"]
            kernel = random.normal(size=(outputs, inputs, *window)) * np.sqrt(2 / (inputs * np.prod(window)))
            arrays |= {f"{theirs}.weight": kernel, f"{theirs}.bias": random.normal(size=outputs) / 10}
        else:
            (size,) = weights["gamma"]
            for kind, least in (("weight", 0.5), ("running_var", 0.5), ("bias", -0.5), ("running_mean", -0.5)):
                arrays[f"{theirs}.{kind}"] = random.uniform(least, least + 1, size)
            arrays[f"{theirs}.num_batches_tracked"] = np.int64(7)
    return {name: np.asarray(each, np.int64 if "batches" in name else np.float32) for name, each in arrays.items()}


def without_biases(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without those of convolutions, which these networks do not have."""
    kernels = {name.rpartition(".")[0] for name, array in arrays.items() if array.ndim == 4}
    return {name: array for name, array in arrays.items() if name.removesuffix(".bias") not in kernels}


class TorchReference:
    """PyTorch's arithmetic, written with its names: explicit padding on both sides, kernels (out, in, height, width)
    and maps (samples, channels, height, width)."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays

    def conv(self, x: np.ndarray, name: str, stride: int = 1, padding: int = 0) -> np.ndarray:
        kernel = self.arrays[f"{name}.weight"]
        padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[2:], (2, 3))[:, :, ::stride, ::stride]
        y = np.einsum("nchwij,ocij->nohw", windows, kernel, optimize=True)
        bias = self.arrays.get(f"{name}.bias")
        return y if bias is None else y + bias[:, None, None]

    def bn(self, x: np.ndarray, name: str, epsilon: float = 1e-5) -> np.ndarray:
        weight, bias, mean, variance = (
            self.arrays[f"{name}.{kind}"][:, None, None] for kind in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + epsilon) * weight + bias

    def max_pool(self, x: np.ndarray, kernel: int, stride: int, padding: int = 0) -> np.ndarray:
        widths = ((0, 0), (0, 0), (padding, padding), (padding, padding))
        padded = np.pad(x, widths, constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]
        return np.asarray(windows.max(axis=(4, 5)))

    def linear(self, x: np.ndarray, name: str) -> np.ndarray:
        weight = self.arrays[f"{name}.weight"]
        return np.asarray(x @ weight.reshape(len(weight), -1).T + self.arrays[f"{name}.bias"])

    def resnet(self, x: np.ndarray, convolutions: int) -> np.ndarray:
        x = self.max_pool(relu(self.bn(self.conv(x, "conv1", 2, 3), "bn1")), 3, 2, 1)
        for block in dict.fromkeys(".".join(name.split(".")[:2]) for name in self.arrays if name.startswith("layer")):
            stride = 2 if block.endswith(".0") and block != "layer1.0" else 1
            strided = 1 if convolutions == 2 else 2
            y = x
            for number in range(1, convolutions + 1):
                padding = 1 if convolutions == 2 or number == 2 else 0
                y = self.conv(y, f"{block}.conv{number}", stride if number == strided else 1, padding)
                y = self.bn(y, f"{block}.bn{number}")
                y = relu(y) if number < convolutions else y
            if f"{block}.downsample.0.weight" in self.arrays:
                x = self.bn(self.conv(x, f"{block}.downsample.0", stride), f"{block}.downsample.1")
            x = relu(x + y)
        return self.linear(x.mean(axis=(2, 3)), "fc")

    def ceil_pool(self, x: np.ndarray, kernel: int) -> np.ndarray:
        """Of stride 2, with a last window that may reach over the border by one."""
        over = (x.shape[2] - kernel) % 2
        return self.max_pool(np.pad(x, ((0, 0), (0, 0), (0, over), (0, over)), constant_values=-np.inf), kernel, 2)

    def googlenet(self, x: np.ndarray) -> np.ndarray:
        def conv(x: np.ndarray, name: str, stride: int = 1, padding: int = 0) -> np.ndarray:
            return relu(self.bn(self.conv(x, f"{name}.conv", stride, padding), f"{name}.bn", 1e-3))

        x = self.ceil_pool(conv(x, "conv1", 2, 3), 3)
        x = self.ceil_pool(conv(conv(x, "conv2"), "conv3", 1, 1), 3)
        for module in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
            name = f"inception{module}"
            branches = [
                conv(x, f"{name}.branch1"),
                conv(conv(x, f"{name}.branch2.0"), f"{name}.branch2.1", 1, 1),
                conv(conv(x, f"{name}.branch3.0"), f"{name}.branch3.1", 1, 1),
                conv(self.max_pool(x, 3, 1, 1), f"{name}.branch4.1"),
            ]
            x = np.concatenate(branches, axis=1)
            x = {"3b": lambda x: self.ceil_pool(x, 3), "4e": lambda x: self.ceil_pool(x, 2)}.get(module, np.copy)(x)
        return self.linear(x.mean(axis=(2, 3)), "fc")

    def vgg(self, x: np.ndarray, classifier: tuple[str, ...]) -> np.ndarray:
        pools = {1, 2, 4, 6, 8}  # configuration A
        features = [name for name in self.arrays if name.startswith("features.") and name.endswith(".weight")]
        number = 0
        for name in features:
            layer = name.removesuffix(".weight")
            if self.arrays[name].ndim == 4:
                number, x = number + 1, self.conv(x, layer, 1, 1)
                normalised = f"{layer.partition('.')[0]}.{int(layer.rpartition('.')[2]) + 1}"
                x = relu(self.bn(x, normalised) if f"{normalised}.running_mean" in self.arrays else x)
                x = self.max_pool(x, 2, 2) if number in pools else x
        x = x.reshape(len(x), -1)
        for layer in classifier[:-1]:
            x = relu(self.linear(x, layer))
        return self.linear(x, classifier[-1])


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def channels_first(images: np.ndarray) -> np.ndarray:
    return images.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("model", ["resnet18", "resnet50"])
def test_a_resnet_of_torchvision_and_timm(model: str, tmp_path: Path) -> None:
    network = ours(model, conventions="torch")
    arrays = without_biases(torch_arrays(network, "torchvision", model))
    save_file(arrays, tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors", model, network) == ()
    x = standardised(IMAGES, "torch")
    assert_equal(network(x), TorchReference(arrays).resnet(channels_first(x), 2 if model == "resnet18" else 3))


CLASSIFIERS = {
    "torchvision": ("classifier.0", "classifier.3", "classifier.6"),
    "timm": ("pre_logits.fc1", "pre_logits.fc2", "head.fc"),
}


@pytest.mark.parametrize(("library", "model"), [("torchvision", "vgg11-bn"), ("timm", "vgg11")])
def test_a_vgg_of_torchvision_and_timm(library: str, model: str, tmp_path: Path) -> None:
    """With maps of 2x2 pixels before the classifier, so that their order matters."""
    network = ours(model, side=64)
    arrays = torch_arrays(network, library, model)
    if library == "timm":  # whose hidden layers are convolutions
        for name, side in (("pre_logits.fc1.weight", 2), ("pre_logits.fc2.weight", 1)):
            arrays[name] = arrays[name].reshape(4096, -1, side, side)
    save_file(arrays, tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors", model, network) == ()
    x = standardised(np.random.default_rng(5).integers(0, 256, (2, 64, 64, 3)), "torch")
    assert_equal(network(x), TorchReference(arrays).vgg(channels_first(x), CLASSIFIERS[library]))


@pytest.mark.parametrize("side", [79, 96])
def test_torchvision_s_googlenet(side: int, tmp_path: Path) -> None:
    """With maps of odd and of even sides before the poolings; the auxiliary classifiers fit only images of 224."""
    network = ours("googlenet-bn", side=side)
    arrays = without_biases(torch_arrays(network, "torchvision", "googlenet-bn"))
    for number in (1, 2):
        arrays[f"aux{number}.fc1.weight"] = np.zeros((1024, 2048), np.float32)
    save_file(arrays, tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors", "googlenet-bn", network) == ("auxiliary1_fc", "auxiliary2_fc")
    x = standardised(np.random.default_rng(5).integers(0, 256, (2, side, side, 3)), "tf")
    assert_equal(network(x)[0], TorchReference(arrays).googlenet(channels_first(x)))


@pytest.fixture
def resnet18(tmp_path: Path) -> tuple[dict[str, np.ndarray], Callable[[dict[str, np.ndarray]], Path]]:
    """Arrays of a ResNet-18, and a function that writes a file of such arrays."""

    def write(arrays: dict[str, np.ndarray]) -> Path:
        save_file(arrays, tmp_path / "a.safetensors")
        return tmp_path / "a.safetensors"

    return without_biases(torch_arrays(ours("resnet18"), "torchvision", "resnet18")), write


Resnet18 = tuple[dict[str, np.ndarray], Callable[[dict[str, np.ndarray]], Path]]


def test_what_can_be_started_with_and_what_is_new_then(resnet18: Resnet18) -> None:
    arrays, write = resnet18
    path = write(arrays)
    layout, likest = layout_of(path)
    assert (layout.library, likest, layout.conventions, layout.preprocessing) == (
        "torchvision or timm",
        "resnet18",
        "torch",
        "torch",
    )
    network = ours("resnet18", classes=3)
    before = network.get_layer("logits").kernel.value.numpy()
    assert load(path, "resnet18", network) == ("logits",)
    assert np.array_equal(network.get_layer("logits").kernel.value.numpy(), before)
    assert load(write({name: each for name, each in arrays.items() if "fc" not in name}), "resnet18", network) == (
        "logits",
    )


def test_short_types_are_converted(resnet18: Resnet18) -> None:
    arrays, write = resnet18
    half = {name: each if each.dtype == np.int64 else each.astype(np.float16) for name, each in arrays.items()}
    network = ours("resnet18")
    load(write(half), "resnet18", network)
    kernel = network.get_layer("conv1").kernel.value.numpy()
    assert_equal(kernel, half["conv1.weight"].astype(np.float32).transpose(2, 3, 1, 0))


def test_a_hidden_layer_for_other_image_sizes_makes_the_classifier_new(tmp_path: Path) -> None:
    save_file(torch_arrays(ours("vgg11", side=64), "torchvision", "vgg11"), tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors", "vgg11", ours("vgg11")) == ("fc1", "fc2", "logits")


def test_files_that_do_not_fit(resnet18: Resnet18) -> None:
    arrays, write = resnet18
    built = functools.cache(ours)

    def refused(change: dict[str, np.ndarray | None], model: str = "resnet18") -> str:
        changed = {name: each for name, each in (arrays | change).items() if each is not None}
        with pytest.raises(UserError) as error:
            read_published(write(changed), model, built(model))
        return str(error.value)

    assert "layer1.0.conv3, " in refused({}, "resnet50")
    assert "give --model resnet18, or a file of resnet50" in refused({}, "resnet50")
    assert "has the layers of resnet18, by torchvision or timm's names, not those of --model vgg11" in refused(
        {}, "vgg11"
    )
    assert "conv1 (conv1: 3x3x3x64 here, 7x7x3x64 in the file)" in refused({}, "resnet18-32")
    assert "stage1_block1_conv1 (stage1_block1_conv1: 3x3x64x64 here, nothing in the file)" in refused(
        {"layer1.0.conv1.weight": None}
    )
    assert "it also has layer1.0.se, which" in refused({"layer1.0.se.weight": np.zeros(3, np.float32)})
    assert "it also has conv1.scale, which" in refused({"conv1.scale": np.zeros(64, np.float32)})
    nan = np.full_like(arrays["bn1.bias"], np.nan)
    for other in (nan, np.full_like(nan, np.inf), np.full(64, -1e39)):  # finite in float64 alone
        assert "cannot be read: bn1.bias holds numbers that are not finite in float32." in refused({"bn1.bias": other})
    negative = -arrays["layer1.0.bn2.running_var"]
    assert "layer1.0.bn2.running_var holds variances below 0." in refused({"layer1.0.bn2.running_var": negative})
    whole = np.zeros((64,), np.int32)
    assert "bn1.bias has the type I32 instead of floating-point numbers" in refused({"bn1.bias": whole})
    with pytest.raises(UserError, match=r"of no network that is known here: its layers are a, b; .* vgg11, .*resnet18"):
        layout_of(write({"a.weight": np.zeros(2), "b.weight": np.zeros(2)}))


def header(**arrays: object) -> bytes:
    text = json.dumps(arrays).encode()
    return struct.pack("<Q", len(text)) + text


TERABYTES = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.safetensors", b"", "damaged or no safetensors file"),
        ("a.safetensors", header(a={"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}) + b"1234", "damaged"),
        ("a.safetensors", struct.pack("<Q", 2**50) + b"{}", "damaged or no safetensors file"),
        ("a.safetensors", header(a=TERABYTES) + b"1234", "damaged or no safetensors file"),
        ("a.h5", b"no HDF5", "damaged or no HDF5 file"),
        ("a.pth", b"PK", "which can hold a program"),
        ("a.weights.h5", b"", "whose format names its layers"),
        ("a.keras", b"PK", "whose format names its layers"),
    ],
)
def test_files_that_cannot_be_read(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        layout_of(path)


def test_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "resnet18.safetensors").touch()
    with pytest.raises(UserError, match=r"resnet81.safetensors does not exist; did you mean .*resnet18.safetensors\?"):
        layout_of(tmp_path / "resnet81.safetensors")


def write_hdf5(path: Path, **arrays: object) -> None:
    """A file as Keras writes it, of a layer `a` with these members."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["a"]
        group = file.create_group("a")
        group.attrs["weight_names"] = list(arrays)
        for name, value in arrays.items():
            group[name] = value


def test_hdf5_files_that_lead_elsewhere_or_are_damaged(tmp_path: Path) -> None:
    secret, path = tmp_path / "secret.h5", tmp_path / "a.h5"
    write_hdf5(secret, kernel=np.zeros(3))
    write_hdf5(path, kernel=h5py.ExternalLink(secret, "a/kernel"))
    with pytest.raises(UserError, match="kernel is missing in it"):
        layout_of(path)
    write_hdf5(path)
    (tmp_path / "raw").write_bytes(bytes(24))
    with h5py.File(path, "a") as file:
        file["a"].attrs["weight_names"] = ["kernel"]
        file["a"].create_dataset("kernel", (3,), "f8", external=[(str(tmp_path / "raw"), 0, 24)])
    with pytest.raises(UserError, match="a/kernel is no array of this file"):
        layout_of(path)
    with h5py.File(path, "w"):
        pass
    with pytest.raises(UserError, match=r"does not list its layers .* model.save"):
        layout_of(path)


def test_a_truncated_hdf5_file(keras_resnet: tuple[keras.Model, Path], tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with open(keras_resnet[1], "rb") as file:
        path.write_bytes(file.read(10**6))
    with pytest.raises(UserError, match="damaged or no HDF5 file"):
        layout_of(path)


def test_a_claim_of_terabytes_takes_no_memory(tmp_path: Path) -> None:
    """Arrays that have no place in the network are never read."""
    path = tmp_path / "a.h5"
    names = LAYOUTS[0].layers(NETWORKS["vgg11"].options).values()
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = list(names)
        for name in names:
            group = file.create_group(name)
            group.attrs["weight_names"] = ["kernel"]
            group.create_dataset("kernel", (2**40,), "f4", chunks=(2**20,))
    with pytest.raises(UserError, match="1099511627776 in the file"):
        load(path, "vgg11", ours("vgg11"))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.h5")
    with pytest.raises(UserError, match="it is not a file"):
        layout_of(tmp_path / "a.h5")


def test_padding_is_the_same_on_both_sides() -> None:
    """Without it, torchvision's and Keras's ResNets would see other pixels."""
    network = ours("resnet18", conventions="torch", side=8)
    maps = keras.Model(network.input, network.get_layer("conv1").output)
    image = np.zeros((1, 8, 8, 3), np.float32)
    image[0, 0, 0, 0] = 1
    kernel = network.get_layer("conv1").kernel.value.numpy()
    np.testing.assert_allclose(np.asarray(maps(tf.constant(image)))[0, 0, 0], kernel[3, 3, 0], rtol=1e-5)
