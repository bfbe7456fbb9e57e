"""What the last bits of a result depend on, and what is said when that has changed."""

import pytest
from hypothesis import given

from cnn.cluster.launchers.process import ALONE, Cores, Devices
from cnn.cluster.ranks.arithmetic import arithmetic, differing_rank, other_arithmetic, other_processor
from cnn.cluster.ranks.collectives import Cluster
from cnn.shown_text import on_one_line
from tests.hostile import JSON, examples

HERE = {"threads": "2", "GPU": "none", "processor": "Xeon", "instructions": " ".join(f"avx512_{n}" for n in range(20))}


def test_what_this_machine_computes_by() -> None:
    cores = Cores(pinned=None, threads=3)
    (own,) = arithmetic(Cluster(ALONE, Devices(cores=cores, gpu="none", mistake=None)))
    assert own["threads"] == "3"
    assert own["processor"]
    assert own["GPU"] == "none"


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ([HERE, HERE], ""),
        ([HERE, {**HERE, "threads": "1"}], "rank 1 has threads 2 (before: 1)"),
        ([{**HERE, "instructions": "avx2"}, HERE], "rank 0 has other instructions"),
        ([{**HERE, "GPU": "H100", "processor": "Epyc"}, HERE],
         "rank 0 has GPU none (before: H100), processor Xeon (before: Epyc)"),
        ([HERE], ""),
        (None, ""),
    ],
)  # fmt: skip
def test_what_has_changed(before: object, said: str) -> None:
    assert other_arithmetic(before, [HERE, HERE]) == said


def test_ranks_that_compute_alike_may_have_other_numbers_of_threads() -> None:
    assert differing_rank([HERE]) == differing_rank([HERE, {**HERE, "threads": "1"}]) == ""
    assert differing_rank([HERE, HERE, {**HERE, "GPU": "H100"}]) == "rank 2 has GPU H100 (rank 0: none)"


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ([{**HERE, "threads": "7"}, HERE, HERE], ""),
        ([{**HERE, "processor": "Epyc"}], "processor Xeon (before: Epyc)"),
        ([], ""),
        (None, ""),
    ],
)
def test_another_kind_of_processor_than_before(before: object, said: str) -> None:
    assert other_processor(before, HERE) == said


@examples(100)
@given(JSON)
def test_whatever_a_folder_tells_is_one_line(told: object) -> None:
    for before in (told, [told], [{"threads": told, "processor": told}]):
        for said in (other_arithmetic(before, [HERE]), other_processor(before, HERE)):
            assert on_one_line(said) == said
            assert len(said) < 1000
