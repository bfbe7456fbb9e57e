"""A profile of some steps, which TensorBoard's PROFILE tab shows."""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from cnn.errors import UserError
from cnn.shown_text import counted, shell_word

PLUGIN = "xprof"
"""The package with TensorBoard's profile plugin."""


class ProfiledSteps(NamedTuple):
    """Steps of which a profile is made."""

    first: int
    """Steps done before them."""

    last: int
    """Steps done after them."""


def profiled_steps(text: str | None, total_steps: int) -> ProfiledSteps | None:
    """Reads --profile_steps, `FIRST:LAST`; None if it is not given.

    Args:
        text: the setting, whose form `RunSettings` has checked.
        total_steps: the step at which the run ends.

    Raises:
        UserError: the run has not so many steps.
    """
    if text is None:
        return None
    steps = ProfiledSteps(*map(int, text.split(":")))
    if steps.last > total_steps:
        raise UserError(
            f"--profile_steps {text} goes beyond the end of the run, which has {counted(total_steps, 'step')}: choose "
            "earlier ones, or more --epochs.",
            agreed=True,
        )
    return steps


def profiled_ranks(text: str, world_size: int) -> set[int]:
    """Reads --profile_ranks; UserError for a rank that does not exist."""
    ranks = set(range(world_size)) if text == "all" else {int(rank) for rank in text.split(",")}
    if missing := sorted(rank for rank in ranks if rank >= world_size):
        raise UserError(
            f"--profile_ranks {text} names rank {missing[0]}, but {counted(world_size, 'worker')} can have ranks up to "
            f"{world_size - 1} only: name others, or all.",
            agreed=True,
        )
    return ranks


class StepProfile:
    """Makes the profile while the steps are taken. Every rank has one, as all must cut their calls at the same steps.

    Args:
        steps: the steps; None for no profile.
        folder: the folder in which this rank writes its profile; None if it writes none.
        say: shows a message.
    """

    def __init__(self, steps: ProfiledSteps | None, folder: Path | None, say: Callable[[str], None]) -> None:
        self._steps = steps
        self._folder = folder
        self._say = say
        self._is_running = False

    def max_steps(self, step: int) -> int | None:
        """Maximum number of steps that may follow `step` in one call; None without a limit.

        The profiled steps are taken one at a time, so that the profile tells them apart.
        """
        if self._steps is None or step >= self._steps.last:
            return None
        return self._steps.first - step if step < self._steps.first else 1

    def call(self, step: int) -> contextlib.AbstractContextManager[object]:
        """A `with` block for the call that follows `step`."""
        if self._steps is None or not self._steps.first <= step < self._steps.last:
            self.close()
            return contextlib.nullcontext()
        if not self._is_running and self._folder is not None:
            self._is_running = True
            with self._told():
                str(self._folder).encode()  # TensorFlow has no way to write to a name that is not UTF-8
                tf.profiler.experimental.start(str(self._folder))
        trace: contextlib.AbstractContextManager[object]
        trace = tf.profiler.experimental.Trace("train", step_num=step, _r=1)
        return trace

    def close(self) -> None:
        """Writes the profile, if one is being made."""
        if self._is_running:
            self._is_running = False
            with self._told():
                tf.profiler.experimental.stop()
                path = shell_word(f"{self._folder}/plugins/profile")
                advice = "" if importlib.util.find_spec(PLUGIN) else f", which `pip install {PLUGIN}` adds,"
                self._say(f"a profile for TensorBoard's PROFILE tab{advice} is in {path}")
                self._folder = None

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (tf.errors.OpError, OSError, UnicodeError) as error:
            self._say(f"there is no profile, as {self._folder} cannot be written: {error}")
            self._folder, self._is_running = None, False
