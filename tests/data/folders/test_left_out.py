from cnn.data.folders.left_out import BESIDE, UNSUPPORTED, LeftOut


def test_nothing_is_said_of_nothing() -> None:
    assert str(LeftOut()) == ""


def test_files_are_counted_by_suffix_the_frequent_ones_first() -> None:
    left_out = LeftOut()
    for name in ("a.txt", "b.HEIC", "c.heic", "README", "odd.", "e.txt", "f.heic"):
        left_out.add_file(UNSUPPORTED, name)
    assert str(left_out) == f"{UNSUPPORTED} (.heic: 3, .txt: 2, no suffix: 2)"


def test_two_become_one() -> None:
    one, other = LeftOut(), LeftOut()
    one.add(BESIDE, "models")
    other.add(BESIDE, "models")
    other.add_file(UNSUPPORTED, "a.txt")
    one += other
    assert str(one) == f"{UNSUPPORTED} (.txt: 1); {BESIDE} (models: 2)"


def test_many_long_and_strange_names_stay_a_short_line() -> None:
    left_out = LeftOut()
    for number in range(1000):
        left_out.add(BESIDE, f"{number:03}\n\x1b[31m{'x' * 200}")
    text = str(left_out)
    assert text.endswith(", others: 992)")
    assert len(text) < 400
    assert text.isprintable()
