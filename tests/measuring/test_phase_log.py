"""Which phase of a run gets the time, the messages and the files."""

from pathlib import Path

import tensorflow as tf

from cnn.measuring.phase_log import LoggedHorovod, PhaseLog, count_opened_files


class OneRank:
    """What Horovod computes for a single rank."""

    Sum = "the sum"

    def allgather(self, tensor, name):
        return tf.identity(tensor)


def test_collectives_belong_to_the_innermost_function_that_has_a_phase() -> None:
    def ask() -> None:
        horovod.allgather(tf.zeros(3), name="a")

    def inner() -> None:
        ask()

    def outer() -> None:
        ask()
        inner()
        ask()

    log = PhaseLog({outer: "outer", inner: "inner"})
    horovod = LoggedHorovod(OneRank(), log)
    outer()
    log.part = "again: "
    ask()
    assert {name: (phase.collectives, phase.received_bytes) for name, phase in log.phases.items()} == {
        "outer": (2, 24),
        "inner": (1, 12),
        "again: other": (1, 12),
    }
    assert horovod.Sum == "the sum"


def test_collectives_of_compiled_functions_are_counted_apart() -> None:
    def run() -> None:
        compiled()
        compiled()

    log = PhaseLog({run: "steps"})
    horovod = LoggedHorovod(OneRank(), log)
    compiled = tf.function(lambda: horovod.allgather(tf.zeros(3), name="a"), autograph=False)
    run()
    assert (log.phases["steps"].collectives, log.phases["steps"].compiled_collectives) == (0, 1)


def test_time_is_attributed_without_gaps() -> None:
    log = PhaseLog({})
    log.mark("first")
    log.mark("second")
    log.mark("first")
    assert list(log.phases) == ["first", "second"]
    assert all(phase.seconds > 0 for phase in log.phases.values())


def test_files_count_for_the_first_folder_that_contains_them(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_text("")
    (tmp_path / "b").write_text("")
    counts = count_opened_files({"inner": tmp_path / "inner", "all": tmp_path, "none": tmp_path / "in"})
    (tmp_path / "inner" / "a").read_text()
    (tmp_path / "b").read_text()
    (tmp_path / "b").read_bytes()
    assert counts == {"inner": 1, "all": 2, "none": 0}
