"""Mutation testing: small changes to what must be exact, each of which some test should notice.

`bash launch/test.sh --mutants [COUNT [SEED]]` makes COUNT of them (100), chosen by SEED, one after the other, in the
files themselves: run it in a clone of its own. It prints those that no test noticed, and fails when they are over a
fifth.
"""

import os
import random
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.plugins import get_operator, operator_names
from cosmic_ray.work_item import MutationSpec, TestOutcome

TESTS = {
    "cnn/data/order.py": "tests/data/test_order.py",
    "cnn/cluster/exchange/buckets.py": "tests/cluster/exchange/test_buckets.py tests/integration/test_cluster.py",
    "cnn/cluster/exchange/exchange.py": "tests/learner/test_step.py tests/integration/test_cluster.py",
    "cnn/cluster/exchange/row_slice.py": "tests/cluster/exchange/test_row_slice.py tests/integration/test_cluster.py",
    "cnn/cluster/exchange/sharded_kernel.py": "tests/learner/test_sharded_step.py tests/integration/test_cluster.py",
    "cnn/cluster/exchange/sharded_kernels.py": "tests/learner/test_sharded_step.py tests/integration/test_cluster.py",
    "cnn/runs/checkpoints.py": "tests/runs/test_checkpoints.py",
    "cnn/runs/background_saver.py": "tests/runs/test_loop.py tests/integration/test_faults.py",
    "cnn/learner/state.py": "tests/learner/test_state.py",
    "cnn/data/store/store.py": "tests/data/store/test_store.py tests/data/store/test_image_store.py",
    "cnn/data/store/store_files.py": "tests/data/store/test_store.py tests/data/store/test_image_store.py",
}
SECONDS = 180
"""A change that makes the tests take longer than this has been noticed."""

KILLED = 0.8
_OF_TYPES = "BitOr"  # stands in type hints only, where any change is noticed by the import


def mutations(file: str) -> Iterator[MutationSpec]:
    """All small changes to a file."""
    tree = get_ast_from_path(Path(file))
    for name in operator_names():
        operator = get_operator(name)
        if operator.arguments() or _OF_TYPES in name:
            continue
        places = (place for node in ast_nodes(tree) for place in operator().mutation_positions(node))
        for occurrence, (start, end) in enumerate(places):
            yield MutationSpec(
                module_path=file, operator_name=name, occurrence=occurrence, start_pos=start, end_pos=end
            )


def main(count: int = 100, seed: int = 1) -> None:
    """Makes some changes, and prints what became of them."""
    if subprocess.run(["git", "diff", "--quiet", "HEAD", "--", *TESTS], check=False).returncode:
        sys.exit("error: files that are to be changed and restored have changes that are not committed: commit these.")
    os.environ.pop("PYTHONPATH", None)  # leads to the tool, which the tests do without
    every = [mutation for file in TESTS for mutation in mutations(file)]
    chosen = random.Random(seed).sample(every, min(count, len(every)))
    killed, made = Counter[str](), Counter[str]()
    for number, mutation in enumerate(chosen, 1):
        file = str(mutation.module_path)
        command = [sys.executable, "-m", "pytest", "-xqq", "-p", "no:cacheprovider", *TESTS[file].split()]
        result = mutate_and_test([mutation], shlex.join([*command, "-m", "not (cluster or faults)"]), SECONDS)
        print(f"{number} of {len(chosen)}: {file}, line {mutation.start_pos[0]}: {result.test_outcome}", flush=True)
        made[file] += 1
        killed[file] += result.test_outcome == TestOutcome.KILLED
        if result.test_outcome != TestOutcome.KILLED:
            print(f"{result.diff}\n", flush=True)
    print(f"{'file':<36}{'changes':>8}{'noticed':>8}")
    for file in TESTS:
        print(f"{file:<36}{made[file]:>8}{killed[file]:>8}")
    print(f"{'all ' + str(len(every)) + ' that there are':<36}{made.total():>8}{killed.total():>8}")
    sys.exit(killed.total() < KILLED * made.total())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
