"""Sums over groups are added up in one order, whichever ranks hold the groups."""

import pytest

from cnn.cluster.exchange.sum_tree import SumTree, SumTrees
from cnn.data.order import rank_bounds

GROUPS = [1, 2, 3, 5, 7, 8, 11, 16, 23]
RANKS = [1, 2, 3, 4, 5, 9]


def summed(bounds: list[int]) -> str:
    """The sum over the groups as a text with parentheses, as the ranks compute it."""
    trees = [SumTree(bounds, rank) for rank in range(len(bounds) - 1)]
    slots = {}
    for rank, tree in enumerate(trees):
        stack: list[str] = []
        for place, merges in zip(range(bounds[rank], bounds[rank + 1]), tree.merges, strict=True):
            value = str(place)
            for _ in range(merges):
                value = f"({stack.pop()}+{value})"
            stack.append(value)
            assert len(stack) <= tree.depth
        assert len(stack) <= tree.slots
        slots |= {rank * tree.slots + number: value for number, value in enumerate(stack)}
    for left, right in trees[0].additions:
        slots[left] = f"({slots[left]}+{slots.pop(right)})"
    assert list(slots) == [trees[0].root]
    return slots[trees[0].root]


@pytest.mark.parametrize("groups", GROUPS)
def test_the_order_does_not_depend_on_the_ranks(groups: int) -> None:
    alone = summed([0, groups])
    assert all(summed(rank_bounds(groups, ranks)) == alone for ranks in RANKS)
    assert summed([0, 0, groups // 3, groups // 3, groups]) == alone  # any division


def test_neighbours_are_added_first() -> None:
    assert summed([0, 4]) == "((0+1)+(2+3))"
    assert summed([0, 7]) == "(((0+1)+(2+3))+((4+5)+6))"


def test_a_rank_keeps_one_node_where_the_ranks_divide_the_tree() -> None:
    assert [SumTree(rank_bounds(16, ranks), 0).slots for ranks in (1, 2, 4, 8, 16)] == [1] * 5
    assert SumTree(rank_bounds(16, 3), 0).slots == 3


def test_the_tables_hold_a_row_for_each_number_of_groups() -> None:
    counts, ranks, rank = [3, 10], 4, 2
    trees = SumTrees(counts, [rank_bounds(each, ranks) for each in counts], rank)
    assert trees.own_groups.tolist() == [1, 2]
    assert trees.largest_share == 3
    for row, count in enumerate(counts):
        tree = SumTree(rank_bounds(count, ranks), rank)
        assert [each for each in trees.merges[row].tolist() if each >= 0] == tree.merges
        assert [tuple(each) for each in trees.additions[row].tolist() if each[0] >= 0] == tree.additions
        assert trees.additions[row, -1].tolist() == [-1, -1]  # by which a loop over them ends
        assert (trees.roots[row], trees.slots[row]) == (tree.root, tree.slots)
        assert trees.depth >= max(tree.depth, tree.slots)
    assert trees.places.tolist() == [[3, 6, 9, *[-1] * 7], [0, 1, 3, 4, 5, 6, 7, 9, 10, 11]]
