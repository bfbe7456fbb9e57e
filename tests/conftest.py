"""What holds for all tests."""

import signal

# Started in the background by a shell, this process and all that it starts would ignore SIGINT, also those that are
# tested for ending by it.
signal.signal(signal.SIGINT, signal.default_int_handler)
