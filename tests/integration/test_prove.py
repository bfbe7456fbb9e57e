"""The proof holds for every small network, and fails when training is broken on purpose."""

import re
from concurrent.futures import ThreadPoolExecutor


def test_several_workers_compute_what_one_computes(jobs) -> None:
    code, output = jobs.run("jobs/prove.py", "--models", "fcnn", "lenet5", "lenet5-like", "--workers", 1, 2, 3)
    assert code == 0, output
    rows = re.findall(r"^(\S+) +(\d) .* holds$", output, re.MULTILINE)
    assert rows == [(name, str(workers)) for name in ("fcnn", "lenet5", "lenet5-like") for workers in (1, 2, 3)]
    assert "BROKEN" not in output


def test_broken_training_is_seen(jobs) -> None:
    def prove(what: str) -> tuple[int, str]:
        size = ("--models", "lenet5-like", "--workers", 2, "--proof_steps", 10)
        return jobs.run("jobs/prove.py", *size, CNN_PROVE_BREAK=what)

    with ThreadPoolExecutor(2) as pool:
        results = dict(zip(("exchange", "slice", "keys"), pool.map(prove, ("exchange", "slice", "keys")), strict=True))
    for what, (code, output) in results.items():
        assert code == 1, what + output
        assert re.search(r"^lenet5-like +1 .* holds$", output, re.MULTILINE), what + output
        assert re.search(r"^lenet5-like +2 .* BROKEN$", output, re.MULTILINE), what + output
