"""Environment variables: valid values stay, others are reported and removed."""

import pytest

from cnn.environment import remove_invalid_variables

GOOD = [
    ("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", "0"),
    ("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", " 600 "),
    ("HOROVOD_CYCLE_TIME", "0.5"),
    ("HOROVOD_CYCLE_TIME", ".5"),
    ("HOROVOD_CYCLE_TIME", "5"),
    ("HOROVOD_LOG_LEVEL", "WARNING"),
    ("HOROVOD_ELASTIC", "1"),
    ("HOROVOD_THREAD_AFFINITY", "0,1"),
    ("OMP_NUM_THREADS", "4,2"),
    ("CUDA_VISIBLE_DEVICES", ""),
    ("CUDA_VISIBLE_DEVICES", "-1"),
    ("CUDA_VISIBLE_DEVICES", "0, 1"),
    ("CUDA_VISIBLE_DEVICES", "NoDevFiles"),
    ("CUDA_VISIBLE_DEVICES", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"),
    ("CUDA_VISIBLE_DEVICES", "MIG-GPU-8932f937-d72c-4106-c12f-20bd9faed9f6/1/2,1"),
    ("CNN_DEVICE", "gpu"),
]
BAD = [
    ("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", "600s"),
    ("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", "10m"),
    ("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", "-1"),
    ("HOROVOD_STALL_CHECK_TIME_SECONDS", "1e3"),
    ("HOROVOD_STALL_CHECK_DISABLE", "true"),
    ("HOROVOD_GLOO_TIMEOUT_SECONDS", "0"),
    ("HOROVOD_GLOO_TIMEOUT_SECONDS", "30.5"),
    ("HOROVOD_CYCLE_TIME", "5ms"),
    ("HOROVOD_CYCLE_TIME", "nan"),
    ("HOROVOD_CYCLE_TIME", "0,5"),
    ("HOROVOD_FUSION_THRESHOLD", "64MB"),
    ("HOROVOD_FUSION_THRESHOLD", "99999999999"),
    ("HOROVOD_CPU_OPERATIONS", "tcp"),
    ("OMP_NUM_THREADS", "0"),
    ("OMP_NUM_THREADS", "all"),
    ("CUDA_VISIBLE_DEVICES", "all"),
    ("CUDA_VISIBLE_DEVICES", "cuda:0"),
    ("CUDA_VISIBLE_DEVICES", "0 1"),
    ("CNN_DEVICE", "GPU"),
    ("CNN_PROGRESS", "off"),
    ("CNN_LOG_FORMAT", "JSON"),
    ("CNN_EXPECTED_HOSTS", "two"),
    ("CNN_EXPECTED_HOSTS", "0-3"),
    ("CNN_EXPECTED_HOSTS", "1-"),
    ("CNN_EXPECTED_WORKERS_PER_HOST", "1-3"),
    ("TF_CPP_MIN_LOG_LEVEL", "\u0663"),
]


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_a_valid_value_stays(name: str, value: str) -> None:
    environ = {name: value}
    assert remove_invalid_variables(environ, horovod=True) == ""
    assert environ == {name: value}


@pytest.mark.parametrize(("name", "value"), BAD)
def test_an_invalid_value_is_reported_and_removed(name: str, value: str) -> None:
    environ = {name: value, "OTHER": "1"}
    sentence = remove_invalid_variables(environ, horovod=True)
    assert sentence.startswith(f"the environment variable {name} is '{value}': set it to ")
    assert environ == {"OTHER": "1"}


def test_an_empty_variable_is_not_set() -> None:
    environ = {"HOROVOD_CYCLE_TIME": "", "CNN_DEVICE": ""}
    assert remove_invalid_variables(environ, horovod=True) == ""
    assert environ == {}


def test_horovod_variables_are_not_reported_without_horovod() -> None:
    environ = {"HOROVOD_CYCLE_TIME": "5ms"}
    assert remove_invalid_variables(environ, horovod=False) == ""
    assert environ == {}
