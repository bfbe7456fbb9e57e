"""What a run says of ranks that hold the others up or give what is not finite."""

import os
import re
from pathlib import Path

SLOW = """
import sys
sys.path.insert(0, "jobs")
import os
if os.environ["OMPI_COMM_WORLD_RANK"] == "1":
    import tensorflow as tf
    import cnn.learner.step as step
    compute = step.TrainingStep._sums
    def slowly(self, images, *others):
        def wait(values):
            import time
            time.sleep(0.05)
            return values
        shape = images.shape
        images = tf.ensure_shape(tf.numpy_function(wait, [images], images.dtype), shape)
        return compute(self, images, *others)
    step.TrainingStep._sums = slowly
import runpy
runpy.run_path("jobs/train.py", run_name="__main__")
"""

SIZE = ("--model", "fcnn", "--data", "digits", "--global_batch_size", 100, "--epochs", 2)


def test_the_slow_rank_is_named_once(jobs, tmp_path: Path) -> None:
    program = tmp_path / "slow.py"
    program.write_text(SLOW)
    folder = tmp_path / "run"
    code, output = jobs.run(program, *SIZE, "--run_dir", folder, launcher="mpirun", workers=3)
    assert code == 0, output
    named = re.findall(r"rank (\d) \(on \S+\) is slow: it computes a batch's loss in (\S+) s, the others in", output)
    assert len(named) == 1, output
    assert named[0][0] == "1"
    assert float(named[0][1]) >= 0.05


def test_workers_that_share_cores_are_told_so(jobs, tmp_path: Path) -> None:
    many = len(os.sched_getaffinity(0)) + 1
    code, output = jobs.run("jobs/train.py", *SIZE, "--run_dir", tmp_path / "run", launcher="mpirun", workers=many)
    assert code == 0, output
    assert output.count(f"{many} workers share {many - 1} cores") == 1
