"""What to say about a word of a command line that is no option: the option that was probably meant."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from cnn.choices import names_for
from cnn.errors import UserError
from cnn.suggestions import did_you_mean

_HELP = "--help lists all options."

_ELSEWHERE = {
    "architecture": ("model",),
    "arch": ("model",),
    "batch": ("global_batch_size", "batch_size"),
    "batch_size": ("global_batch_size", "proof_batch_size"),
    "ckpt": ("checkpoint",),
    "data_dir": ("images",),
    "data_path": ("data_dir", "images"),
    "dataset": ("data",),
    "global_batch_size": ("batch_size", "proof_batch_size"),
    "folder": ("data_dir", "run_dir"),
    "from": ("initialize_from",),
    "image_dir": ("data_dir", "images"),
    "input": ("images", "data_dir"),
    "iterations": ("steps",),
    "log_dir": ("run_dir",),
    "logdir": ("run_dir",),
    "max_steps": ("steps",),
    "model_dir": ("run_dir",),
    "net": ("model",),
    "network": ("model",),
    "out": ("output", "run_dir"),
    "output": ("run_dir", "sweep_dir"),
    "output_dir": ("output", "run_dir"),
    "pretrained": ("initialize_from",),
    "save_dir": ("output", "run_dir"),
    "scheduler": ("schedule",),
    "size": ("image_size",),
    "val_split": ("validation_fraction",),
    "validation_split": ("validation_fraction",),
    "wd": ("weight_decay",),
    "weights": ("initialize_from", "checkpoint"),
}
"""Options of other programs and libraries, and ours for the same; the first that a program has is proposed."""

_NOT_OPTIONS = {
    **dict.fromkeys(
        ("np", "n", "H", "hosts", "hostfile", "nproc", "num_workers", "workers", "gpus", "num_gpus"),
        "a launcher starts the workers, `mpirun -np 2 cnn train` for example",
    ),
    **dict.fromkeys(
        ("device", "gpu", "cpu", "cuda"), "the environment variable CNN_DEVICE, gpu or cpu, chooses what computes"
    ),
    "momentum": "--optimizer momentum has a momentum of 0.9",
}
"""What others set by an option, and how it is set here."""

OF_PROGRAMS = {
    **dict.fromkeys(("checkpoint", "part"), "evaluate"),
    **dict.fromkeys(("images", "top"), "predict"),
    "link": "benchmark",
    "proof_steps": "prove",
    "recipe": "sweep",
    "replay": "prove",
    "verify": "prepare",
    **dict.fromkeys(("model", "data", "optimizer", "learning_rate", "epochs", "steps", "global_batch_size"), "train"),
    **dict.fromkeys(("resume", "schedule", "seed", "precision", "image_size"), "train"),
}
"""Options that may be given to the wrong program, and a program that has them."""


def refuse_option(word: str, name: str, known: Iterable[str]) -> NoReturn:
    """Raises UserError for an option that does not exist as it is written.

    Args:
        word: the option as it is written.
        name: its name with underscores.
        known: the names of all options of the program.
    """
    known, (written, equals, value) = list(known), word.partition("=")
    if name in known:
        raise UserError(f"{word!r} does not begin with two dashes of the keyboard: write --{name}{equals}{value}.")
    first, space, rest = word.partition(" ")
    if space and first.lstrip("-").replace("-", "_") in known:
        raise UserError(f"{word!r} is a single word: write {first} {rest} without quotation marks around both.")
    there_is_none = f"there is no option {written}"
    if meant := next((each for each in _ELSEWHERE.get(name, ()) if each in known), None):
        raise UserError(f"{there_is_none}; did you mean --{meant}? {_HELP}")
    if name in _NOT_OPTIONS:
        raise UserError(f"{there_is_none}: {_NOT_OPTIONS[name]}.")
    if name in OF_PROGRAMS:
        raise UserError(f"{there_is_none} here: it belongs to `cnn {OF_PROGRAMS[name]}`; {_HELP}")
    raise UserError(f"{there_is_none}{did_you_mean(name, known, '--') or ';'} {_HELP}")


def refuse_word(word: str, fields: Mapping[str, "dataclasses.Field[Any]"], known: Iterable[str]) -> NoReturn:
    """Raises UserError for a word that follows no option.

    Args:
        word: the word.
        fields: the settings by name.
        known: the names of all options of the program.
    """
    known = list(known)
    if not word.strip():
        raise UserError(
            "a word is empty, as after a backslash and a space, or when a shell variable is not set: remove it."
        )
    of_choice = next((name for name, field in fields.items() if word.lower() in names_for(field)), None)
    if of_choice is not None:
        raise UserError(f"{word!r} follows no option; did you mean --{of_choice} {word.lower()}?")
    if word.endswith((".yaml", ".yml")):
        raise UserError(
            f"{word!r} follows no option; did you mean --{'recipe' if 'recipe' in known else 'config'} {word}?"
        )
    advice = did_you_mean(word.partition("=")[0], known, "--")
    raise UserError(f"{word!r} follows no option{advice or ': a value that has spaces needs quotation marks.'}")
