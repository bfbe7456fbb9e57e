"""Small data sets as files, the real ones where they are, a cache of the test's own, and a web server."""

import contextlib
import gzip
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

_IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("CNN_CACHE_DIR", str(folder))
    return folder


def _idx_bytes(array: np.ndarray) -> bytes:
    header = (0x800 + array.ndim).to_bytes(4, "big") + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def idx_bytes() -> Callable[[np.ndarray], bytes]:
    """Gives an array as an IDX file's content."""
    return _idx_bytes


def _idx_arrays() -> list[np.ndarray]:
    """40 images to train and 20 to test, 5x4; image i has the label i % 10 and pixels counting from i."""
    arrays: list[np.ndarray] = []
    for samples in (40, 20):
        arrays.append((np.arange(samples)[:, np.newaxis] + np.arange(20)).reshape(samples, 5, 4))
        arrays.append(np.arange(samples) % 10)
    return arrays


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """The four IDX files, gzipped."""
    folder = tmp_path / "idx"
    folder.mkdir()
    for name, array in zip(_IDX_NAMES, _idx_arrays(), strict=True):
        (folder / f"{name}.gz").write_bytes(gzip.compress(_idx_bytes(array), mtime=0))
    return folder


def _cifar_records(samples: int) -> bytes:
    """Record i has the label i % 10, red i, green 100 + i, blue 200 + i."""
    planes = [bytes([i % 10]) + b"".join(bytes([base + i]) * 1024 for base in (0, 100, 200)) for i in range(samples)]
    return b"".join(planes)


@pytest.fixture
def cifar_folder(tmp_path: Path) -> Path:
    """A folder with cifar-10-batches-bin: two training batches of 20 and a test batch of 10.

    And with cifar-100-binary, 20 to train and 10 to test; record i has the coarse label 19.
    """
    folder = tmp_path / "cifar"
    batches = folder / "cifar-10-batches-bin"
    batches.mkdir(parents=True)
    (batches / "data_batch_1.bin").write_bytes(_cifar_records(20))
    (batches / "data_batch_3.bin").write_bytes(_cifar_records(20))
    (batches / "test_batch.bin").write_bytes(_cifar_records(10))
    (batches / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n")
    (folder / "cifar-100-binary").mkdir()
    for name, samples in (("train", 20), ("test", 10)):
        records = np.frombuffer(_cifar_records(samples), np.uint8).reshape(samples, -1)
        content = np.insert(records, 0, 19, axis=1).tobytes()
        (folder / "cifar-100-binary" / f"{name}.bin").write_bytes(content)
    names = "".join(f"class_{number}\n" for number in range(100))
    (folder / "cifar-100-binary" / "fine_label_names.txt").write_text(names)
    return folder


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Gives a folder of the real data, or skips the test."""

    def find(name: str) -> Path:
        root = Path(os.environ.get("CNN_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
        if not (root / name).is_dir():
            pytest.skip(f"no real data at {root / name}: set CNN_TEST_DATA to the folder that holds {name}")
        return root / name

    return find


def _noise(seed: int, width: int = 24, height: int = 16) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def noise() -> Callable[..., Image.Image]:
    """Gives an image of random pixels: (seed, width, height)."""
    return _noise


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Two class folders, of six and four PNG files, 24x16."""
    folder = tmp_path / "images"
    for name, count in (("cat", 6), ("dog", 4)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            _noise(100 * count + number).save(folder / name / f"{number}.png")
    return folder


class _Handler(http.server.BaseHTTPRequestHandler):
    server: "FileServer"

    def do_GET(self) -> None:
        server, part = self.server, self.headers.get("Range")
        server.asked.append(self.path if part is None else f"{self.path} {part}")
        path = server.folder / self.path[1:]
        if not path.exists():
            self.send_error(404, "File not found")
            return
        content, start = path.read_bytes(), 0
        if part is not None and server.knows_ranges:
            start = int(part.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        for name, value in server.headers.items():
            self.send_header(name, value)
        if server.tells_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : server.breaks_off_at])

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class FileServer(http.server.ThreadingHTTPServer):
    """Serves the files of a folder, to this machine only, and shows the faults that it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.asked: list[str] = []
        """The path of each request, with the range if it names one."""

        self.knows_ranges = True
        self.tells_length = True
        self.breaks_off_at: int | None = None
        """Position in a file that is the last to be sent."""

        self.headers: dict[str, str] = {}

    def handle_error(self, *_: object) -> None:
        """Says nothing where a client goes away."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """What the server has."""
    folder = tmp_path / "published"
    folder.mkdir()
    return folder


@pytest.fixture
def server(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "*")
    with FileServer(published) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """An empty folder to download to."""
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def read_terminal(master: int) -> str:
    """All that has been written to a pseudo-terminal which nothing can write to any more; closes it."""
    shown = b""
    with contextlib.suppress(OSError):  # which is how it ends
        while True:
            shown += os.read(master, 1000)
    os.close(master)
    return shown.decode()
