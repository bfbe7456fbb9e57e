"""The signals that ask a program to end in good order."""

import signal

ONLY_ASKING = (signal.SIGUSR1, signal.SIGHUP)
"""However often these come, they ask to end in good order: a launcher and a host that goes down may both send the one,
a terminal that closes and its shell the other."""


def signals_to_stop() -> list[signal.Signals]:
    """Those that ask a program to end: also a terminal's end, unless nohup lets it go on without."""
    always = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]
    return always if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [*always, signal.SIGHUP]
