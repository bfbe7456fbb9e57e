from pathlib import Path

import numpy as np
from matplotlib.image import imread

from cnn.monitoring.figures.confusion import class_rows, class_table, confusion_table, draw_confusion

NAMES = ("daisy", "tulip $1", "iris")
CONFUSION = np.array([[8, 2, 0], [1, 1234, 0], [0, 0, 0]])


def test_recall_is_of_the_images_and_precision_of_what_is_said() -> None:
    daisy, tulip, iris = class_rows(NAMES, CONFUSION)
    assert daisy == {"name": "daisy", "images": 10, "right": 8, "recall": 0.8, "precision": 8 / 9}
    assert (tulip["images"], tulip["right"], tulip["precision"]) == (1235, 1234, 1234 / 1236)
    assert iris == {"name": "iris", "images": 0, "right": 0, "recall": None, "precision": None}


def test_the_table_of_classes() -> None:
    assert class_table(class_rows(NAMES, CONFUSION)) == (
        "class      images   right    recall  precision\n"
        "daisy          10       8    80.0 %     88.9 %\n"
        "tulip $1    1,235   1,234    99.9 %     99.8 %\n"
        "iris            0       0         -          -"
    )


def test_long_names_stand_beside_the_matrix_and_numbers_above_it() -> None:
    text = confusion_table(NAMES, CONFUSION, 80)
    assert text.splitlines()[1:] == [
        "              0    1    2",
        "0 daisy       8    2    .",
        "1 tulip $1    1 1234    .",
        "2 iris        .    .    .",
    ]


def test_short_names_stand_above_it_too() -> None:
    assert confusion_table(tuple("abc"), CONFUSION, 16).splitlines()[1:3] == ["     a    b    c", "a    8    2    ."]


def test_a_matrix_wider_than_the_terminal_is_told_by_its_worst() -> None:
    assert confusion_table(NAMES, CONFUSION, 24) == (
        "confused most often:\n  daisy taken for tulip $1: 2 times (20.0 %)\n  tulip $1 taken for daisy: once (0.1 %)"
    )
    assert confusion_table(NAMES, np.diag([1, 2, 3]), 1) == "no class is confused with another."


def test_the_picture_is_dark_where_a_row_has_most(tmp_path: Path) -> None:
    names = tuple(map(str, range(60)))  # without labels, so that the middle of the picture is the matrix
    draw_confusion(names, np.roll(np.diag(np.arange(1, 61)), 15, 1), tmp_path / "confusion.png", "a $1 network")
    picture = imread(tmp_path / "confusion.png")[:, :, :3].sum(2)
    height, width = picture.shape
    dark = np.argwhere(picture < 1.0) / (height, width)
    down, across = dark[:, 0], dark[:, 1]
    assert np.sum((down > 0.75) & (down < 0.93) & (across > 0.06) & (across < 0.24)) > 1000  # the last rows, wrapped
    assert np.sum((down > 0.1) & (down < 0.26) & (across > 0.5) & (across < 0.85)) == 0
    draw_confusion(NAMES, CONFUSION, tmp_path / "labelled.png", "a network")
    assert (tmp_path / "labelled.png").read_bytes().startswith(b"\x89PNG")
