"""The signals that request a program to stop gracefully."""

import signal

GRACEFUL_ONLY = (signal.SIGUSR1, signal.SIGHUP)
"""Signals that, even if repeated, request a graceful stop: the launcher and a host's shutdown may both send SIGUSR1, a
closing terminal and its shell both send SIGHUP."""


def signals_to_stop() -> list[signal.Signals]:
    """The signals that request a stop; SIGHUP, sent by a closing terminal, is one unless nohup has made it ignored."""
    always = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]
    return always if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [*always, signal.SIGHUP]
