"""What other programs have set for TensorFlow and Keras changes nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnn.library_settings import override_library_settings

COMPUTE = """
import cnn, hashlib, sys
from cnn.models.registry import ModelSettings, build_network
from cnn.quiet_import import import_tensorflow_quietly
import_tensorflow_quietly()
import numpy as np, keras
network = build_network(ModelSettings(model="resnet18-32"), (16, 16, 3), 4, seed=1)
outputs = network(np.linspace(0, 1, 4 * 768, dtype=np.float32).reshape(4, 16, 16, 3)).numpy()
print(outputs.dtype, network.layers[1].compute_dtype, keras.config.epsilon(), hashlib.sha256(outputs).hexdigest())
"""

OTHERS = {
    "KERAS_BACKEND": "jax",
    "KERAS_FLOATX": "float16",
    "KERAS_MAX_EPOCHS": "many",
    "KERAS_NNX_ENABLED": "1",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_DETERMINISTIC_OPS": "1",
    "TF_NUM_INTRAOP_THREADS": "7",
    "TF_NUM_INTEROP_THREADS": "7",
    "TF_USE_LEGACY_KERAS": "1",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --no_such_flag",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true --no_such_flag",
    "TF2_BEHAVIOR": "0",
    "ONEDNN_DEFAULT_FPMATH_MODE": "ANY",
}
HARMLESS = {
    "TF_CONFIG": "{}",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "TF_GPU_ALLOCATOR": "cuda_malloc_async",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def compute(home: Path, environment: dict[str, str]) -> str:
    """What a fresh process computes."""
    done = subprocess.run(
        [sys.executable, "-c", COMPUTE],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(home), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.mark.parametrize("where", ["home", "variable"])
def test_nothing_that_others_have_set_changes_what_is_computed(tmp_path: Path, where: str) -> None:
    plain = compute(tmp_path, {})
    assert plain.startswith("float32 float32 1e-07 ")
    assert not [*tmp_path.iterdir()]
    folder = tmp_path / ".keras"
    folder.mkdir()
    config = {"floatx": "float64", "epsilon": 1e-3, "image_data_format": "channels_first", "backend": "theano"}
    (folder / "keras.json").write_text(json.dumps(config))
    moved = {"KERAS_HOME": str(folder)} if where == "variable" else {}
    assert compute(tmp_path, {**OTHERS, **HARMLESS, **moved}) == plain


def test_a_damaged_configuration_of_keras(tmp_path: Path) -> None:
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text('{"floatx": "int7"}')
    assert compute(tmp_path, {}).startswith("float32 ")


def test_what_is_left_and_what_goes() -> None:
    environment = {**OTHERS, **HARMLESS, "HOME": "/home/a", "XLA_FLAGS": "--xla_gpu_cuda_data_dir=/cuda --xla_a=1"}
    override_library_settings(environment)
    own = {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": os.devnull, "XLA_FLAGS": "--xla_gpu_cuda_data_dir=/cuda"}
    assert environment == {**HARMLESS, **own, "HOME": "/home/a"}
    again = dict(environment)
    override_library_settings(again)  # in a process that this one starts
    assert again == environment


def test_a_session_keeps_keras_s_folder(tmp_path: Path) -> None:
    """Where Keras stores the data sets and weights that its users download."""
    done = subprocess.run(
        [sys.executable, "-i", "-q"],
        input="import cnn, os\nprint('folder', os.environ.get('KERAS_HOME'), os.environ['KERAS_BACKEND'])\n",
        env={"PYTHONPATH": os.pathsep.join(sys.path), "KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"folder {tmp_path} tensorflow" in done.stdout, done
