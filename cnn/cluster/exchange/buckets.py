"""How tensors are grouped into messages, or split into several."""

from collections.abc import Sequence


def even_parts(size: int, parts: int) -> list[int]:
    """Divides `size` elements into `parts` parts of nearly equal sizes; into fewer if there are fewer elements."""
    parts = max(1, min(parts, size))
    return [size * (index + 1) // parts - size * index // parts for index in range(parts)]


def make_buckets(sizes: Sequence[int], limit: int) -> list[list[int]]:
    """Groups tensors, last first (the order in which gradients appear), into buckets of about `limit` bytes.

    Args:
        sizes: bytes of each tensor.
        limit: bytes; a bucket is closed before it would exceed this. A larger tensor gets a bucket to itself, so that
            it need not be copied into a shared one.

    Returns:
        For each bucket, the indices of its tensors in `sizes`.
    """
    buckets: list[list[int]] = []
    free_bytes = 0
    for index in reversed(range(len(sizes))):
        if not buckets or sizes[index] > free_bytes:
            buckets.append([])
            free_bytes = limit
        buckets[-1].append(index)
        free_bytes -= sizes[index]
    return buckets
