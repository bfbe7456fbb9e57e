"""How tensors are put together into messages, or cut up."""

from collections.abc import Sequence


def even_parts(size: int, parts: int) -> list[int]:
    """Sizes of so many parts of a whole, as equal as can be; fewer where the whole is smaller."""
    parts = max(1, min(parts, size))
    return [size * (each + 1) // parts - size * each // parts for each in range(parts)]


def make_buckets(sizes: Sequence[int], limit: int) -> list[list[int]]:
    """Groups tensors, last first (the order in which gradients appear), into buckets of about `limit` bytes.

    Args:
        sizes: bytes of each tensor.
        limit: a bucket is closed before it would grow beyond this; a larger tensor has a bucket of its own, so that
            it need not be copied into a joint one.

    Returns:
        Positions in `sizes`, each once.
    """
    buckets: list[list[int]] = []
    room = 0
    for position in reversed(range(len(sizes))):
        if not buckets or sizes[position] > room:
            buckets.append([])
            room = limit
        buckets[-1].append(position)
        room -= sizes[position]
    return buckets
