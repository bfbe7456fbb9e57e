"""What a process makes of its launcher's environment, and its share of the host's cores."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.cluster.launchers.process import ALONE, Launch, launch_from_environment, share_cores
from cnn.errors import UserError

MPI = {
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
}
GLOO = {
    "HOROVOD_CONTROLLER": "gloo",
    "HOROVOD_RANK": "2",
    "HOROVOD_SIZE": "3",
    "HOROVOD_LOCAL_RANK": "0",
    "HOROVOD_LOCAL_SIZE": "1",
}


@pytest.mark.parametrize(
    ("environment", "launch"),
    [
        ({}, ALONE),
        ({"PATH": "/bin", "HOROVOD_CYCLE_TIME": "1", "OMPI_MCA_mpi_yield_when_idle": "1"}, ALONE),
        (MPI, Launch(controller="mpi", rank=5, world_size=8, local_rank=1, local_size=4, bound=False)),
        (
            {**MPI, "OMPI_MCA_orte_bound_at_launch": "1"},
            Launch(controller="mpi", rank=5, world_size=8, local_rank=1, local_size=4, bound=True),
        ),
        (GLOO, Launch(controller="gloo", rank=2, world_size=3, local_rank=0, local_size=1, bound=False)),
        # horovodrun from a job that mpirun started: the inner launcher is meant.
        ({**MPI, **GLOO}, Launch(controller="gloo", rank=2, world_size=3, local_rank=0, local_size=1, bound=False)),
        # horovodrun over MPI starts mpirun.
        (
            {**MPI, "HOROVOD_CONTROLLER": "mpi"},
            Launch(controller="mpi", rank=5, world_size=8, local_rank=1, local_size=4, bound=False),
        ),
    ],
    ids=["nothing", "only settings", "mpirun", "mpirun bound", "gloo", "gloo in mpirun", "horovodrun --mpi"],
)
def test_launch(environment: dict[str, str], launch: Launch) -> None:
    assert launch_from_environment(environment) == launch


@pytest.mark.parametrize(
    ("environment", "missing"),
    [(MPI, name) for name in MPI if not name.endswith("WORLD_SIZE")]
    + [(GLOO, name) for name in GLOO if name not in ("HOROVOD_CONTROLLER", "HOROVOD_RANK")],
)
@pytest.mark.parametrize("value", [None, "", "two"])
def test_incomplete_environment(environment: dict[str, str], missing: str, value: str | None) -> None:
    broken = {**environment, missing: value} if value is not None else {**environment}
    if value is None:
        del broken[missing]
    with pytest.raises(UserError, match="environment variables are incomplete .*horovodrun or mpirun") as caught:
        launch_from_environment({name: text for name, text in broken.items() if text is not None})
    assert (missing if value is None else repr(value)) in str(caught.value)


OTHERS = {
    "srun": (
        {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "1"},
        "srun started 4 processes, which Horovod cannot connect",
    ),
    "Hydra": ({"PMI_SIZE": "2", "PMI_RANK": "0"}, "the mpirun of another MPI started 2 processes"),
    "MVAPICH": ({"MV2_COMM_WORLD_SIZE": "2", "MV2_COMM_WORLD_RANK": "1"}, "MVAPICH's mpirun started 2"),
    "Flux": ({"FLUX_JOB_SIZE": "2", "FLUX_TASK_RANK": "0"}, "Flux started 2"),
    "jsrun": ({"JSM_NAMESPACE_SIZE": "6", "JSM_NAMESPACE_RANK": "5"}, "jsrun started 6"),
    "blaunch": ({"LSB_DJOB_NUMPROC": "2", "LSF_PM_TASKID": "2"}, "blaunch started 2"),
    "torchrun": (
        {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"},
        r"torchrun.* \(WORLD_SIZE=2, RANK=1\): start them",
    ),
    "Trainer": ({"PET_NNODES": "2", "PET_NPROC_PER_NODE": "2", "PET_NODE_RANK": "0"}, "Trainer started 4"),
    "Trainer, elastic": ({"PET_NNODES": "1:4", "PET_NPROC_PER_NODE": "auto", "PET_RDZV_ENDPOINT": "a:1"}, "started 4"),
    "TF_CONFIG": (
        {"TF_CONFIG": '{"cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "task": {"type": "worker"}}'},
        "the launcher that set TF_CONFIG started 3",
    ),
    "SageMaker": ({"SM_HOSTS": '["algo-1", "algo-2"]', "SM_CURRENT_HOST": "algo-1"}, "SageMaker started 2"),
    "AWS Batch": ({"AWS_BATCH_JOB_NUM_NODES": "2", "AWS_BATCH_JOB_NODE_INDEX": "0"}, "AWS Batch started 2"),
    "Horovod's variables": (
        {"HOROVOD_SIZE": "2", "HOROVOD_RANK": "0"},
        "Horovod started 2 .*`env -u HOROVOD_SIZE -u HOR",
    ),
    "Indexed Job": ({"JOB_COMPLETION_INDEX": "0"}, r"an Indexed Job of Kubernetes started several .*DEX=0\)"),
    "Indexed Job of a Trainer": ({"JOB_COMPLETION_INDEX": "1", "PET_NNODES": "3"}, "started 3"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_launcher_that_cannot_connect_them_is_told(name: str) -> None:
    """They would all train the same, each by itself."""
    environment, said = OTHERS[name]
    with pytest.raises(UserError, match=said) as caught:
        launch_from_environment(environment)
    assert all(f"-u {variable}" in str(caught.value) for variable in environment if f"{variable}=" in str(caught.value))
    assert launch_from_environment({**environment, **MPI}).world_size == 8
    assert launch_from_environment({**environment, **GLOO}).world_size == 3


@pytest.mark.parametrize(
    "environment",
    [
        {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
        pytest.param({"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "7"}, id="sbatch or salloc"),
        pytest.param({"SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_ID": "3"}, id="job array"),
        pytest.param({"LSB_DJOB_NUMPROC": "8", "LSB_HOSTS": "a a b b"}, id="bsub"),
        pytest.param({"PBS_NP": "8", "PBS_VNODENUM": "0", "PBS_TASKNUM": "1"}, id="qsub"),
        pytest.param({"PARALLEL_SEQ": "3", "PARALLEL_JOBSLOT": "2"}, id="GNU parallel"),
        pytest.param({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}, id="torchrun with one process"),
        pytest.param({"WORLD_SIZE": "4"}, id="left over: size"),
        pytest.param({"RANK": "3"}, id="left over: rank"),
        pytest.param({"WORLD_SIZE": "2", "RANK": "7"}, id="not of one launch"),
        pytest.param({"WORLD_SIZE": "two", "RANK": "one"}, id="words"),
        pytest.param({"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker"}}'}, id="one worker"),
        *(
            {"TF_CONFIG": text}
            for text in ("", "{}", "no JSON", "[" * 5000, '{"cluster": 5}', '{"cluster": {"ps": 1}}')
        ),
        {"SM_HOSTS": '["algo-1"]', "SM_CURRENT_HOST": "algo-1"},
        {"JOB_COMPLETION_INDEX": "0", "PET_NNODES": "1", "PET_NPROC_PER_NODE": "1", "PET_NODE_RANK": "0"},
        {"JOB_COMPLETION_INDEX": ""},
    ],
)
def test_one_process_trains_whatever_is_left_over(environment: dict[str, str]) -> None:
    assert launch_from_environment(environment) == ALONE
    # mpirun or horovodrun, started with one process, does not hide another launcher that started several.
    one = {**MPI, "OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}
    assert launch_from_environment({**environment, **one}).world_size == 1


def local(local_rank: int, local_size: int, *, bound: bool = False) -> Launch:
    return Launch(
        controller="mpi", rank=local_rank, world_size=local_size, local_rank=local_rank, local_size=local_size,
        bound=bound,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("cores", "shares"),
    [
        (2, [[0, 1]]),
        (2, [[0], [1]]),
        (4, [[0, 1, 2, 3]]),
        (4, [[0, 1], [2, 3]]),
        (4, [[0], [1], [2, 3]]),
        (8, [[0, 1, 2, 3, 4, 5, 6, 7]]),
        (8, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (8, [[0, 1], [2, 3, 4], [5, 6, 7]]),
    ],
)
def test_ranks_that_are_not_bound_divide_the_cores(cores: int, shares: list[list[int]]) -> None:
    for rank, share in enumerate(shares):
        mine = share_cores(local(rank, len(shares)), frozenset(range(cores)), cores)
        assert mine.pinned == frozenset(share)
        assert mine.threads == cores // len(shares)


def test_only_allowed_cores_are_divided() -> None:
    """A container's share of the host, say."""
    allowed = frozenset({2, 3, 6, 7})
    assert share_cores(local(0, 2), allowed, 8).pinned == {2, 3}
    assert share_cores(local(1, 2), allowed, 8).pinned == {6, 7}


@pytest.mark.parametrize(("ranks", "cores"), [(3, 2), (5, 4), (64, 8)])
def test_more_ranks_than_cores(ranks: int, cores: int) -> None:
    for rank in (0, ranks - 1):
        mine = share_cores(local(rank, ranks), frozenset(range(cores)), cores)
        assert (mine.pinned, mine.threads) == (None, 1)


@pytest.mark.parametrize(
    ("ranks", "allowed", "host_cores", "threads"),
    [
        pytest.param(2, [1], 2, 1, id="to a core"),
        pytest.param(8, [3], 8, 1, id="to a core each"),
        pytest.param(2, [4, 5, 6, 7], 8, 4, id="to a socket each"),
        pytest.param(4, [4, 5, 6, 7], 8, 2, id="two share a socket"),
        pytest.param(1, [0, 1, 2, 3], 8, 4, id="alone on a socket"),
        pytest.param(16, [0, 1, 2, 3], 8, 1, id="more than cores on a socket"),
    ],
)
def test_bound_ranks_stay_where_they_are(ranks: int, allowed: list[int], host_cores: int, threads: int) -> None:
    mine = share_cores(local(0, ranks, bound=True), frozenset(allowed), host_cores)
    assert (mine.pinned, mine.threads) == (None, threads)


@given(st.frozensets(st.integers(0, 200), min_size=1), st.data())
def test_no_core_is_left_over_and_none_has_two_ranks(allowed: frozenset[int], data: st.DataObject) -> None:
    ranks = data.draw(st.integers(1, len(allowed)))
    shares = [share_cores(local(rank, ranks), allowed, 256) for rank in range(ranks)]
    pinned = [core for share in shares for core in sorted(share.pinned or ())]
    assert pinned == sorted(allowed)
    assert {share.threads for share in shares} == {len(allowed) // ranks}


def test_ranks_share_a_limit_without_being_bound() -> None:
    two = local(0, 2)
    allowed = frozenset(range(64))
    shared = share_cores(two, allowed, 64, quota=6)
    assert (shared.pinned, shared.threads) == (None, 3)
    assert share_cores(two, allowed, 64, quota=1).threads == 1
    assert share_cores(ALONE, allowed, 64, quota=None).threads == 64


def test_an_elastic_job_that_runs_what_strangers_send_it() -> None:
    gloo = {"HOROVOD_CONTROLLER": "gloo", "HOROVOD_ELASTIC": "1", "HOROVOD_RANK": "0", "HOROVOD_SIZE": "1"}
    gloo.update(HOROVOD_LOCAL_RANK="0", HOROVOD_LOCAL_SIZE="1")
    assert launch_from_environment({**gloo, "HOROVOD_GLOO_RENDEZVOUS_ADDR": "10.0.0.1:4711/secret"}).rank == 0
    with pytest.raises(UserError, match="CVE-2024-10190.*start it with launch/elastic.sh"):
        launch_from_environment({**gloo, "HOROVOD_GLOO_RENDEZVOUS_ADDR": "10.0.0.1"})
