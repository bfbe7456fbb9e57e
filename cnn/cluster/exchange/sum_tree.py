"""The order in which sums over groups of samples are added up: one binary tree, however the groups are shared out.

A group has a place 0, 1, ... in the global batch. Node i of level l is the sum over the places from i * 2^l to before
(i + 1) * 2^l: a group is a node of level 0, and two neighbours, of which the first has an even number, add up to a node
of the next level. A batch's sum adds its nodes that have no neighbour from the right to the left. Floating
numbers added up like this have the same bits, whichever rank adds which nodes.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np


class _Node(NamedTuple):
    level: int
    number: int
    """The i of its places, from i * 2^level on."""

    slot: int


class SumTree:
    """The additions in a batch of some number of groups; what is stated of one rank, `rank`, holds only there.

    A rank first adds up what it can of its own groups, one after another: each is put on a stack, and is added to the
    top node while that is its neighbour. The nodes that remain there, from its bottom up, are the rank's slots. The
    slots of all ranks, numbered rank by rank with `slots` for each, are then added up by `additions`.

    Args:
        bounds: where each rank's groups begin, and where the last one's end: (ranks + 1,).
        rank: the rank.
    """

    def __init__(self, bounds: Sequence[int], rank: int) -> None:
        by_rank = [_nodes_of_run(first, last) for first, last in pairwise(bounds)]
        self.slots = max(len(nodes) for nodes, _ in by_rank)
        """The largest number of nodes that any rank has."""

        self.merges = by_rank[rank][1]
        """For each of the rank's groups, how many nodes of the stack are added to it."""

        self.depth = int(max(np.cumsum([1 - merged for merged in self.merges]), default=0))
        """The largest number of nodes on the rank's stack."""

        own = [_Node(*node, slot) for slot, node in enumerate(by_rank[rank][0])]
        self.own_additions = _additions(own)
        """As `additions`, of the rank's own slots alone."""

        nodes = [
            _Node(*node, rank * self.slots + place)
            for rank, (nodes, _) in enumerate(by_rank)
            for place, node in enumerate(nodes)
        ]
        self.root = nodes[0].slot
        """The slot that holds the sum after all additions."""

        self.additions = _additions(nodes)
        """Pairs of slots, in this order: the second is added to the first."""


def _nodes_of_run(first: int, last: int) -> tuple[list[tuple[int, int]], list[int]]:
    """The nodes, level and number, that remain of a run of groups; and how many are merged into each group."""
    stack: list[tuple[int, int]] = []
    merges = []
    for place in range(first, last):
        level, number = 0, place
        while stack and _are_neighbours(stack[-1], (level, number)):
            stack.pop()
            level, number = level + 1, number // 2
        stack.append((level, number))
        merges.append(level)
    return stack, merges


def _additions(nodes: Sequence[_Node]) -> list[tuple[int, int]]:
    """The additions of neighbouring slots that add up all nodes, given in the order of their places."""
    stack: list[_Node] = []
    additions = []
    for node in nodes:
        while stack and _are_neighbours(stack[-1][:2], node[:2]):
            left = stack.pop()
            additions.append((left.slot, node.slot))
            node = _Node(node.level + 1, node.number // 2, left.slot)
        stack.append(node)
    while len(stack) > 1:
        additions.append((stack[-2].slot, stack.pop().slot))
    return additions


def _are_neighbours(left: tuple[int, int], right: tuple[int, int]) -> bool:
    return left[0] == right[0] and left[1] % 2 == 0 and right[1] == left[1] + 1


class SumTrees:
    """The trees of all batches of a run, as arrays with a row for each possible number of groups.

    Args:
        group_counts: the numbers of groups that a batch may have, in ascending order.
        bounds: for each of them, where the ranks' groups begin and end: (ranks + 1,).
        rank: this rank.
    """

    def __init__(self, group_counts: Sequence[int], bounds: Sequence[Sequence[int]], rank: int) -> None:
        trees = [SumTree(each, rank) for each in bounds]
        self.group_counts = np.array(group_counts, np.int64)
        self.world_size = len(bounds[0]) - 1
        self.largest_share = max(last - first for each in bounds for first, last in pairwise(each))
        """The largest number of groups that any rank has."""

        self.own_groups = np.array([each[rank + 1] - each[rank] for each in bounds], np.int32)
        """The number of this rank's groups."""

        self.depth = max(max(tree.depth, tree.slots) for tree in trees)
        """The largest number of nodes on this rank's stack, or of slots."""

        self.slots = np.array([tree.slots for tree in trees], np.int32)
        self.roots = np.array([tree.root for tree in trees], np.int32)
        self.merges = _table([tree.merges for tree in trees])
        self.additions = _table([tree.additions for tree in trees], (2,))
        self.own_additions = _table([tree.own_additions for tree in trees], (2,))
        self.places = np.full((len(group_counts), max(group_counts)), -1, np.int32)
        """For each place in a batch, the place of its group among those of all ranks, each of which is given as many
        as the largest share has; -1 for places that a batch does not have."""

        for row, each in enumerate(bounds):
            for owner, (first, last) in enumerate(pairwise(each)):
                self.places[row, first:last] = owner * self.largest_share + np.arange(last - first)


def _table(rows: Sequence[Sequence[Any]], shape: tuple[int, ...] = ()) -> np.ndarray:
    """Rows of different lengths as an int32 array; -1 where a row has ended, which every row does."""
    table = np.full((len(rows), 1 + max(map(len, rows)), *shape), -1, np.int32)
    for number, row in enumerate(rows):
        if row:
            table[number, : len(row)] = row
    return table
