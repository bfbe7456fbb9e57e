"""The commands that a run proposes when it ends: each of them works as it is printed."""

import contextlib
import math
from collections.abc import Mapping
from itertools import count, islice
from pathlib import Path
from typing import Any

from cnn.cluster.launchers.command_line import installed_command, program_command, with_launcher
from cnn.cluster.launchers.elastic import is_elastic
from cnn.cluster.ranks.collectives import Cluster
from cnn.data.folders.left_out import LeftOut
from cnn.data.folders.listing import image_entries
from cnn.data.images.image_file import MINIMUM_SIDE, DamagedImageError, decode_image
from cnn.data.order import SampleOrder
from cnn.errors import UserError
from cnn.runs.run_folder import SETTINGS
from cnn.settings.settings import TrainingSettings
from cnn.shown_text import shell_word

_TRIED_IMAGES = 100


def resume_command(command: str, folder: Path) -> str:
    """The command that resumes the run in a folder.

    Args:
        command: the command that started the job, without the program's options.
        folder: the run's folder.
    """
    # launch/elastic.sh resumes of its own accord, but needs the folder on its command line.
    resume = f"--run_dir {shell_word(folder)}" if is_elastic() else "--resume"
    return f"{command} --config {shell_word(folder / SETTINGS)} {resume}"


def next_steps(
    cluster: Cluster, settings: TrainingSettings, order: SampleOrder, folder: Path, summary: Mapping[str, Any]
) -> list[str]:
    """The commands that use the network, train it for longer, and train it with more workers if these have room.

    Args:
        cluster: the workers.
        settings: the run's settings.
        order: the sequence of its samples.
        folder: its folder.
        summary: its summary.
    """
    run = f"--run_dir {shell_word(folder)}"
    commands = [f"{program_command('evaluate')} {run}"]
    if (image := _an_image(settings)) is not None:
        commands.append(f"{program_command('predict')} {run} --images {shell_word(image)}")
    if not (folder / f"export-{summary['best_step'] or summary['steps']:09d}").exists():  # it would be refused
        commands.append(f"{program_command('export')} {run}")
    commands.append(_longer(cluster.typed_command(), settings, folder, summary))
    workers = 2 * cluster.world_size
    groups = -(-min(order.global_batch_size, len(order.samples)) // order.group_size)
    if cluster.has_room_for_twice_as_many() and groups >= workers:
        other = (
            f"--config {shell_word(folder / SETTINGS)} --run_dir {shell_word(_unused(folder, f'{workers}-workers'))}"
        )
        commands.append(f"{with_launcher(['horovodrun', '-np', str(workers)])} {other}")
    return [*commands, f"{installed_command('tensorboard')} --logdir {shell_word(folder.parent)}"]


def _longer(command: str, settings: TrainingSettings, folder: Path, summary: Mapping[str, Any]) -> str:
    """The command that trains for twice as long; from the start, where the learning rates depend on the length.

    A run that ended early may be given more patience.
    """
    if summary["ended_early"] and settings.run.patience is not None:
        return f"{resume_command(command, folder)} --patience {2 * settings.run.patience}"
    unit = "epochs" if settings.run.steps is None else "steps"
    length = f"--{unit} {2 * math.ceil(summary[unit])}"
    if not settings.schedule.depends_on_the_end:
        return f"{resume_command(command, folder)} {length}"
    return (
        f"{command} --config {shell_word(folder / SETTINGS)} --run_dir {shell_word(_unused(folder, 'longer'))} {length}"
    )


def _unused(folder: Path, suffix: str) -> Path:
    """A folder beside this one that does not exist."""
    names = (f"{folder.name}-{suffix}{'' if number == 1 else f'-{number}'}" for number in count(1))
    return next(path for name in names if not (path := folder.with_name(name)).exists())


def _an_image(settings: TrainingSettings) -> Path | None:
    """One of the user's own images that can be read; None for other data sets."""
    if settings.data.data != "folder":
        return None
    folder = Path(str(settings.data.data_dir))
    with contextlib.suppress(UserError):  # the folder has gone
        for _, path in islice(image_entries(folder, "", LeftOut()), _TRIED_IMAGES):
            with contextlib.suppress(DamagedImageError):
                decode_image(folder / path, MINIMUM_SIDE)
                return folder / path
    return None
