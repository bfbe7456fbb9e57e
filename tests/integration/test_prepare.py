"""jobs/prepare.py, run as users do."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ..fresh_process import loads
from .conftest import Jobs


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "photographs" / name).mkdir(parents=True)
        for number in range(50):
            pixels = np.random.default_rng([label, number]).integers(0, 256, (20, 30, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photographs" / name / f"{number}.jpg")
    return tmp_path / "photographs"


def test_describes_the_data_set_and_reuses_the_preparation(jobs: Jobs, photographs: Path) -> None:
    command = ["jobs/prepare.py", "--data", "folder", "--data_dir", photographs, "--image_size", 64]
    code, output = jobs.run(*command)
    assert code == 0
    lines = output.splitlines()
    assert lines[:4] == [
        "folder: 2 classes, cat, dog",
        "85 training images, 42 to 43 per class",
        "15 test images, 7 to 8 per class",
        "stored 73x73x3, network input 64x64x3",
    ]
    assert lines[4].startswith("1.6 MB in /")
    assert lines[5].startswith("decoded 100 images in ")
    compared = "compared with their checksums: all 100 source files and all prepared arrays; nothing differs"
    assert jobs.run(*command, "--verify") == (0, "\n".join([*lines[:5], compared]) + "\n")


def test_says_each_time_what_is_not_used(jobs: Jobs, photographs: Path) -> None:
    (photographs / "cat" / "a.heic").touch()
    for number in range(3):
        (photographs / "dog" / "@eaDir" / f"{number}.jpg").mkdir(parents=True)
    command = ["jobs/prepare.py", "--data", "folder", "--data_dir", photographs, "--image_size", 16]
    for _ in range(2):
        code, output = jobs.run(*command)
        assert code == 0
        assert output.splitlines()[:2] == [
            f"warning: not used in {photographs}: files of unsupported types (.heic: 1); files and folders of "
            "systems and other programs (@eaDir: 1)",
            "folder: 2 classes, cat, dog",
        ]


def test_images_that_are_scaled_when_they_are_opened(jobs: Jobs) -> None:
    code, output = jobs.run("jobs/prepare.py", "--data", "synthetic", "--image_size", 40, "--verify")
    assert code == 0, output
    lines = output.splitlines()
    assert lines[1:4] == [
        "2,000 training images, 200 to 200 per class",
        "500 test images, 50 to 50 per class",
        "scaled to 40x40x3, network input 40x40x3",
    ]
    assert lines[4].startswith("7.7 MB in /")
    assert lines[5:] == ["compared with their checksums: all prepared arrays; nothing differs"]


def test_a_damaged_image_is_refused_or_skipped(jobs: Jobs, photographs: Path) -> None:
    path = photographs / "dog" / "7.jpg"
    path.write_text("no image")
    command = ["jobs/prepare.py", "--data", "folder", "--data_dir", photographs, "--image_size", 16]
    code, output = jobs.run(*command)
    assert code == 2
    assert output == (
        f"error: 1 image file cannot be used: {path} (a text file); replace or remove all damaged files, "
        "or leave them out by --damaged skip.\n"
    )
    code, output = jobs.run(*command, "--damaged", "skip")
    assert code == 0
    assert output.startswith(f"1 image file left out: {path} (a text file)\nfolder: 2 classes, cat, dog\n")


@pytest.mark.parametrize("setting", ["--data=folder", "--data=nothing", "--image_sise=3", "--image_size=32"])
def test_a_mistake_is_one_sentence(jobs: Jobs, setting: str) -> None:
    code, output = jobs.run("jobs/prepare.py", setting)
    assert code == 2
    assert output.startswith("error: ")
    assert output.endswith((".\n", "?\n"))
    assert output.count("\n") == 1


@pytest.mark.parametrize("program", ["train", "prepare", "evaluate"])
def test_decoding_processes_do_without_tensorflow(program: str) -> None:
    """They import the program that starts them, as any process that Python spawns does."""
    code = f"import runpy; runpy.run_path('jobs/{program}.py', run_name='__mp_main__'); import cnn.data.store.decoding"
    assert not loads("tensorflow", code)


def test_of_several_ranks_one_describes_the_data_set(jobs: Jobs, photographs: Path) -> None:
    command = ["jobs/prepare.py", "--data", "folder", "--data_dir", photographs, "--image_size", 64, "--store", "jpeg"]
    code, output = jobs.run(*command, launcher="mpirun", workers=2)
    assert code == 0, output
    lines = output.splitlines()
    assert lines[3] == "stored as JPEG 73x73x3, network input 64x64x3"
    assert len(lines) <= 6
    assert all(line.startswith("decoded ") for line in lines[5:])  # the images of rank 0, unless it came too late
    assert jobs.run(*command, launcher="mpirun", workers=2) == (0, "\n".join(lines[:5]) + "\n")
