"""Files of weights in formats that hold data alone: HDF5 as Keras writes it, and safetensors.

Nothing in a file is executed, and no other file is read. A file may claim to hold arrays of any size: they are read
one by one, so that a caller who looks at `shapes` first never reads a larger one than it has a place for.
"""

import abc
import contextlib
import math
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cnn.errors import UserError
from cnn.suggestions import similar_path

SUFFIXES = (".h5", ".safetensors")

_MAX_NAMES_BYTES = 2**20
"""More than an HDF5 attribute in Keras's files has: Keras divides longer lists among several."""

_PICKLED = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle")


class WeightFile(abc.ABC):
    """An open file."""

    shapes: dict[str, tuple[int, ...]]
    """The arrays' shapes by name: LAYER/NUMBER in HDF5, in Keras's order of a layer's weights; LAYER.KIND in
    safetensors."""

    @abc.abstractmethod
    def read(self, name: str) -> np.ndarray:
        """Reads an array of floating-point numbers; ValueError for other contents."""

    @property
    @abc.abstractmethod
    def layers(self) -> list[str]:
        """Names of the layers."""


class _Hdf5File(WeightFile):
    def __init__(self, file: Any) -> None:
        import h5py

        self._h5py = h5py
        root = self._member(file, "model_weights") if "model_weights" in file else file
        if "layer_names" not in root.attrs and "layer_names0" not in root.attrs:
            raise ValueError(
                "it does not list its layers by name, as the files of Keras Applications do: load the network in "
                'Keras, and write it with model.save("NAME.h5")'
            )
        self._arrays: dict[str, Any] = {}
        for layer in _names(root, "layer_names"):
            group = self._member(root, layer)
            for number, weight in enumerate(_names(group, "weight_names")):
                array = group
                for part in weight.split("/"):
                    array = self._member(array, part)
                if not isinstance(array, h5py.Dataset) or array.external or array.is_virtual:
                    raise ValueError(f"{layer}/{weight} is no array of this file")
                self._arrays[f"{layer}/{number}"] = array
        self.shapes = {name: tuple(array.shape or ()) for name, array in self._arrays.items()}

    def _member(self, group: Any, name: str) -> Any:
        """A member of a group, which must not be a link to another file."""
        if not isinstance(group, self._h5py.Group) or not isinstance(
            group.get(name, getlink=True), self._h5py.HardLink
        ):
            raise ValueError(f"{name} is missing in it")
        return group[name]

    def read(self, name: str) -> np.ndarray:
        array = self._arrays[name]
        if array.dtype.kind != "f":
            raise ValueError(f"{name} has the type {array.dtype} instead of floating-point numbers")
        return np.asarray(array[()])

    @property
    def layers(self) -> list[str]:
        return list(dict.fromkeys(name.rpartition("/")[0] for name in self.shapes))


def _names(group: Any, key: str) -> Iterator[str]:
    """The names in an attribute, which Keras divides among KEY0, KEY1, ... if they are many."""
    keys = [key] if key in group.attrs else [f"{key}{number}" for number in range(len(group.attrs))]
    for each in keys:
        if each not in group.attrs:
            return
        attribute = group.attrs.get_id(each)
        if math.prod(attribute.shape or ()) * attribute.dtype.itemsize > _MAX_NAMES_BYTES:
            raise ValueError(f"its list {each} is longer than Keras writes")
        for name in np.atleast_1d(group.attrs[each]):
            yield name.decode() if isinstance(name, bytes) else str(name)


class _SafetensorsFile(WeightFile):
    def __init__(self, file: Any) -> None:
        self._file = file
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
        self._types = {name: each.get_dtype() for name, each in slices.items()}
        self.shapes = {name: tuple(each.get_shape()) for name, each in slices.items()}

    def read(self, name: str) -> np.ndarray:
        import ml_dtypes  # noqa: F401 - makes bfloat16 known to NumPy

        if self._types[name] not in ("F64", "F32", "F16", "BF16"):
            raise ValueError(f"{name} has the type {self._types[name]} instead of floating-point numbers")
        return np.asarray(self._file.get_tensor(name))

    @property
    def layers(self) -> list[str]:
        return list(dict.fromkeys(name.rpartition(".")[0] for name in self.shapes))


def is_weight_file(path: Path) -> bool:
    """Whether a path names a file of weights, though perhaps one that is missing or cannot be read, and not a run."""
    return not path.is_dir() and (path.suffix in (*SUFFIXES, *_PICKLED, ".keras", ".npz") or path.is_file())


@contextlib.contextmanager
def open_weight_file(path: Path) -> Iterator[WeightFile]:
    """Opens a file of weights, and turns a ValueError in the block into a UserError about the file.

    Raises:
        UserError: it is missing, damaged, or in another format.
    """
    _check_suffix(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("it is not a file")
        if path.suffix == ".h5":
            with _open_hdf5(path) as hdf5:
                yield _Hdf5File(hdf5)
        else:
            with _open_safetensors(path) as safetensors:
                yield _SafetensorsFile(safetensors)
    except FileNotFoundError:
        similar = similar_path(path)
        raise UserError(f"{path} does not exist{f'; did you mean {similar}?' if similar else '.'}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"the weights in {path} cannot be read: {error}.") from error


def _check_suffix(path: Path) -> None:
    if path.suffix in _PICKLED:
        raise UserError(
            f"{path} looks like a file of PyTorch, which can hold a program that runs when it is loaded: convert it "
            "where PyTorch is installed, by safetensors.torch.save_file(torch.load(FILE, weights_only=True), "
            f'"{path.stem}.safetensors").'
        )
    if path.suffix not in SUFFIXES or path.name.endswith(".weights.h5"):
        raise UserError(
            f"{path} is neither a folder of a run nor a file whose format names its layers: give a file NAME.h5 of "
            'Keras (model.save("NAME.h5") writes it) or NAME.safetensors.'
        )


@contextlib.contextmanager
def _open_hdf5(path: Path) -> Iterator[Any]:
    import h5py

    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise ValueError(f"it is damaged or no HDF5 file ({_reason(error)})") from error
    with file:
        try:
            yield file
        except (KeyError, RuntimeError) as error:  # what h5py raises for damaged contents
            raise ValueError(f"it is damaged ({_reason(error)})") from error


@contextlib.contextmanager
def _open_safetensors(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"it is damaged or no safetensors file ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """The library's words in one line, without the errors that it quotes."""
    return str(error.args[0] if error.args else error).splitlines()[0].rstrip(".")
