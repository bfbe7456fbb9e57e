"""The allocator's rules, by which it hands out more than is requested."""

from cnn.learner.pool_allocator import SMALL_ON_CPU, PoolAllocator

MIB = 1 << 20


def test_a_region_twice_as_large_as_the_last_is_split() -> None:
    allocator = PoolAllocator()
    allocator.allocate(MIB)
    assert allocator.used == MIB  # of a first region of two
    allocator.allocate(MIB)
    allocator.allocate(MIB)  # of a second region of four
    assert allocator.used == 3 * MIB


def test_a_chunk_is_handed_out_whole_if_less_than_the_request_would_be_left() -> None:
    allocator = PoolAllocator()
    chunk = allocator.allocate(int(1.5 * MIB))
    assert allocator.used == 2 * MIB
    allocator.free(chunk)
    assert (allocator.used, allocator.peak) == (0, 2 * MIB)


def test_of_a_very_large_chunk_128_mebibytes_or_more_are_split_off() -> None:
    allocator = PoolAllocator()
    allocator.allocate(300 * MIB)  # of a region of 512 MiB
    assert allocator.used == 300 * MIB


def test_freed_neighbours_are_joined() -> None:
    allocator = PoolAllocator()
    chunks = [allocator.allocate(MIB // 2) for _ in range(4)]
    for number in (1, 3, 0, 2):
        allocator.free(chunks[number])
    allocator.allocate(2 * MIB)
    assert allocator.used == 2 * MIB  # the first region again; a new one would have been handed out whole, with 4 MiB


def test_the_smallest_fitting_chunk_is_taken() -> None:
    allocator = PoolAllocator()
    first, other = allocator.allocate(2 * MIB), allocator.allocate(4 * MIB)
    allocator.free(other)
    allocator.free(first)
    allocator.allocate(int(1.2 * MIB))
    assert allocator.used == 2 * MIB


def test_small_requests_get_what_they_ask_for() -> None:
    allocator = PoolAllocator()
    chunk = allocator.allocate(SMALL_ON_CPU - 1)
    assert allocator.used == SMALL_ON_CPU - 1
    allocator.free(chunk)
    assert allocator.used == 0
    on_gpu = PoolAllocator(small=1)
    on_gpu.allocate(1000)
    assert on_gpu.used == 1024
