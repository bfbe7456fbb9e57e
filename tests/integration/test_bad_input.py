"""What a user gets wrong ends in one sentence that says what to do, whichever rank sees it.

With `-s` it prints a table of mistakes, exit codes and sentences.
"""

import dataclasses
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from .conftest import ROOT

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return (0x800 + values.ndim).to_bytes(4, "big") + sizes + values.astype(np.uint8).tobytes()


def mnist(folder: Path, side: int = 28, **changed: Callable[[bytes], bytes]) -> Path:
    """Forty images in the four files; `changed` alters one file's bytes, by the first word of its name."""
    folder.mkdir()
    for name in IDX_NAMES:
        values = np.arange(40) % 10 if "labels" in name else np.zeros((40, side, side))
        change = changed.get(name.rpartition("-idx")[0].replace("-", "_"), bytes)
        (folder / name).write_bytes(change(idx(values)))
    return folder


def cifar(folder: Path, change: Callable[[bytes], bytes] = bytes) -> Path:
    folder.mkdir()
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        (folder / name).write_bytes(bytes(range(10)).join([bytes(3072)] * 0) or bytes(3073) * 10)
    (folder / "data_batch_2.bin").write_bytes(change(bytes(3073) * 10))
    (folder / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n")
    return folder


@dataclasses.dataclass
class Mistake:
    arguments: tuple[object, ...]
    sentence: str
    """A part of what must be said."""

    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    program: tuple[object, ...] = ("jobs/train.py",)


def mistakes(tmp_path: Path) -> dict[str, Mistake]:
    run, used, empty = tmp_path / "run", tmp_path / "used", tmp_path / "empty"
    used.mkdir()
    (used / "settings.yaml").write_text("data: digits\nmodel: lenet5\n")
    empty.mkdir()
    file = tmp_path / "file"
    file.write_text("")
    broken_yaml, unknown_yaml = tmp_path / "broken.yaml", tmp_path / "unknown.yaml"
    sexagesimal = tmp_path / "sexagesimal.yaml"
    sexagesimal.write_text("model: fcnn\nsteps: 1:30\n")
    broken_yaml.write_text("model: [fcnn\nlearning_rate: }")
    unknown_yaml.write_text("modle: fcnn\n")
    images = mnist(tmp_path / "wrong-magic", train_images=lambda content: b"\0\0\x0d" + content[3:])
    cut = mnist(tmp_path / "cut", train_images=lambda content: content[:-100])
    label = mnist(tmp_path / "label", train_labels=lambda content: content[:-1] + b"\x0b")
    partial = cifar(tmp_path / "cifar", lambda content: content[:-1])
    cifar_label = cifar(tmp_path / "cifar-label", lambda content: b"\x0c" + content[1:])
    small = mnist(tmp_path / "small", side=8)
    new = ("--run_dir", run)
    return {
        "unknown model": Mistake(("--model", "lenet55", *new), "unknown model 'lenet55': choose one of fcnn,"),
        "unknown data": Mistake(("--data", "minst", *new), "Did you mean 'mnist'?"),
        "unknown optimizer": Mistake(("--optimizer", "adma", *new), "Did you mean 'adam'?"),
        "no data_dir": Mistake(("--data", "mnist", "--data_dir", tmp_path / "none", *new), "does not exist"),
        "data_dir is a file": Mistake(("--data", "mnist", "--data_dir", file, *new), "is not a folder"),
        "wrong magic": Mistake(("--data", "mnist", "--data_dir", images, *new), "begins with 00000d03"),
        "truncated": Mistake(("--data", "mnist", "--data_dir", cut, *new), "fewer bytes than the 31,360"),
        "label": Mistake(("--data", "mnist", "--data_dir", label, *new), "label 39 is 11, not 0 to 9"),
        "CIFAR": Mistake(("--data", "cifar10", "--data_dir", partial, *new), "not a multiple of a record's 3,073"),
        "CIFAR label": Mistake(("--data", "cifar10", "--data_dir", cifar_label, *new), "record 0 is 12, not 0 to 9"),
        "small images": Mistake(
            ("--data", "mnist", "--data_dir", small, "--model", "lenet5", *new), "the smallest size is 12x12"
        ),
        "rate": Mistake(("--learning_rate", "-0.1", *new), "--learning_rate -0.1 is not a positive number"),
        "rate is a word": Mistake(("--learning_rate", "fast", *new), "learning_rate"),
        "validation": Mistake(("--validation_fraction", 1, *new), "validation_fraction is 1.0"),
        "batch": Mistake(("--global_batch_size", 0, *new), "--global_batch_size 0 is less than 1"),
        "large seed": Mistake(("--seed", 2**32, *new), "--seed 4294967296"),
        "other settings": Mistake(
            ("--resume", "--run_dir", used, "--model", "lenet5-like"), "model (lenet5 there, lenet5-like now)"
        ),
        "used": Mistake(("--run_dir", used), "already holds a run"),
        "nothing to resume": Mistake(("--resume", "--run_dir", empty), "--resume found no run"),
        "resume without run_dir": Mistake(("--resume",), "--resume needs --run_dir"),
        "below a file": Mistake(("--run_dir", file / "run"), "cannot be written"),
        "no such place": Mistake(("--run_dir", "/proc/nope"), "cannot be written"),
        "long name": Mistake(("--run_dir", tmp_path / ("x" * 300)), "cannot be written"),
        "unknown option": Mistake(("--learning_rte", 0.1, *new), "did you mean --learning_rate?"),
        "broken YAML": Mistake(("--config", broken_yaml, *new), "error:"),
        "unknown in YAML": Mistake(("--config", unknown_yaml, *new), "modle"),
        "no YAML": Mistake(("--config", tmp_path / "none.yaml", *new), "none.yaml"),
        "time of day in YAML": Mistake(("--config", sexagesimal, *new), "line 2: steps '1:30' is not a whole number"),
        "no variable": Mistake(("--run_dir", ""), "--run_dir is empty, as when a shell variable is not set"),
        "abbreviation": Mistake(("--epoch", 3, *new), "did you mean --epochs?"),
        "launcher": Mistake(new, "environment variables are incomplete", {"OMPI_COMM_WORLD_SIZE": "2"}),
        "device": Mistake(new, "CNN_DEVICE is 'tpu': set it to one of gpu, cpu", {"CNN_DEVICE": "tpu"}),
        "progress": Mistake(new, "CNN_PROGRESS is 'bars': set it to one of bar, lines", {"CNN_PROGRESS": "bars"}),
        "alone": Mistake(
            new, "those that its manifest orders (CNN_EXPECTED_HOSTS=2): there are 1 on ", {"CNN_EXPECTED_HOSTS": "2"}
        ),
        "cache": Mistake(new, "cache folder", {"CNN_CACHE_DIR": str(file)}),
        **mistakes_in_values(new),
        **mistakes_of_other_programs(empty),
    }


def mistakes_in_values(new: tuple[object, ...]) -> dict[str, Mistake]:
    folder = Path(str(new[1])).parent
    link, pictures, cut = folder / "link", folder / "pictures", folder / "cut.safetensors"
    cut.write_bytes(bytes(7))
    link.symlink_to(folder / "nowhere")
    pictures.mkdir()
    (pictures / "x.txt").touch()
    return {
        "link to nothing": Mistake(("--run_dir", link), "cannot be written"),
        "no images": Mistake(("--data", "folder", "--data_dir", pictures, *new), "pictures"),
        "precision": Mistake(("--precision", "float8", *new), "unknown precision 'float8'"),
        "exchange": Mistake(("--exchange", "ring", *new), "unknown exchange 'ring'"),
        "crop": Mistake(("--crop", "square", *new), "unknown crop 'square'"),
        "schedule": Mistake(("--schedule", "cosin", *new), "Did you mean 'cosine'?"),
        "dropout": Mistake(("--dropout", 1.5, *new), "--dropout 1.5"),
        "smoothing": Mistake(("--label_smoothing", 2, *new), "--label_smoothing 2"),
        "steps": Mistake(("--steps", -3, *new), "--steps -3 is less than 1"),
        "no number": Mistake(("--learning_rate", "nan", *new), "learning_rate"),
        "image size": Mistake(("--data", "synthetic", "--image_size", 0, *new), "image_size is 0: it must be"),
        "weights of no run": Mistake(("--initialize_from", folder, *new), "holds no run"),
        "truncated weights": Mistake(("--initialize_from", cut, *new), "is damaged or no safetensors file"),
        "line in a name": Mistake(("--model", "le\nnet", *new), r"unknown model 'le\nnet'"),
    }


def mistakes_of_other_programs(empty: Path) -> dict[str, Mistake]:
    def of(program: str, sentence: str, *arguments: object) -> Mistake:
        return Mistake(arguments, sentence, program=(f"jobs/{program}.py",))

    elastic, script = ("-m", "cnn.launching.elastic_launcher"), empty / "hosts.sh"
    return {
        "evaluate": of("evaluate", "holds no run", "--run_dir", empty),
        "report": of("benchmark", "--report is empty", "--report="),
        "export's output": of("export", "--output is empty", "--run_dir", empty, "--output", ""),
        "predict": of("predict", "holds no run", "--run_dir", empty, "--images", empty),
        "export": of("export", "holds no run", "--run_dir", empty),
        "goodput": of("report", "holds no run", "--run_dir", empty),
        "replay": of("prove", "empty", "--replay", empty),
        "prove": of("prove", "unknown model 'lenet55'", "--models", "lenet55"),
        "prove's output": of("prove", "none is not a folder that can be written to", f"--output={empty / 'none'}"),
        "recipe": of("sweep", "none.yaml", "--recipe", empty / "none.yaml"),
        "prepare": of("prepare", "data_dir", "--data", "folder"),
        "summary": of("summarize", "--classes 0 is less than 1", "--classes", 0),
        "too small": of("summarize", "the smallest size is", "--model", "vgg16", "--image_size", 20),
        "benchmark": of("benchmark", "unknown model", "--model", "vgg17"),
        "benchmark's output": of("benchmark", "x.json cannot be written (No such", f"--output={empty / 'none/x.json'}"),
        "output is a folder": of("benchmark", "cannot be written (Is a directory)", "--output", empty),
        "link rate": of("benchmark", "'quick' is not the rate of a link", "--link", "quick"),
        "hosts script": Mistake((script, "--", "--run_dir", "x"), f"{script} cannot list the hosts", program=elastic),
    }


def test_a_lone_process_says_one_sentence(jobs, tmp_path: Path) -> None:
    table = mistakes(tmp_path)

    def run(mistake: Mistake) -> tuple[int, str]:
        return jobs.run(*mistake.program, *mistake.arguments, **mistake.environment)

    with ThreadPoolExecutor(2) as pool:
        results = pool.map(run, table.values())
    wrong = []
    for (name, mistake), (code, output) in zip(table.items(), results, strict=True):
        lines = output.splitlines()
        print(f"{name:<20} {code}  {output.strip()}")
        said = len(lines) == 1 and lines[0].startswith("error: ") and lines[0].endswith((".", "?"))
        said = said and mistake.sentence in output
        if code != 2 or not said:
            wrong.append(f"{name}: exit code {code}, wanted '{mistake.sentence}' in\n{output}")
    assert not wrong, "\n".join(wrong)
    assert not (tmp_path / "run").exists()  # a refused run leaves nothing


@pytest.mark.parametrize("program", ["predict", "export", "report"])
def test_a_program_of_one_process_is_not_started_as_several(jobs, tmp_path: Path, program: str) -> None:
    code, output = jobs.run(f"jobs/{program}.py", "--run_dir", tmp_path, launcher="mpirun", workers=2)
    assert code == 2, output
    assert output.count("error: 2 processes were started, but this program works in one, ") == 1
    assert output.count("error: ") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--model", "resnet18-32", "--global_batch_size", 32), "--global_batch_size 32 is too small for 2 workers: "),
        (("--initialize_from", "resnet.safetensors"), "resnet.safetensors does not exist."),
        (("--model", "lenet55"), "unknown model 'lenet55'"),
        (("--reproducible", "--exchange", "sharded"), "--exchange sharded excludes --reproducible, "),
        (("--metrics_port", 9400, "--metrics_address", "192.0.2.1"), "--metrics_address '192.0.2.1' is not an address"),
    ],
)
def test_of_several_ranks_one_says_the_sentence(
    jobs, tmp_path: Path, arguments: tuple[object, ...], sentence: str
) -> None:
    code, output = jobs.run("jobs/train.py", *arguments, "--run_dir", tmp_path / "run", launcher="mpirun", workers=2)
    assert code == 2, output
    assert output.count(f"error: {sentence}") == 1
    assert output.count(sentence) == 1
    assert "Traceback" not in output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("launcher", ["mpirun", "horovodrun --gloo"])
def test_a_launcher_that_starts_all_workers_on_one_host_of_two_trains_nothing(
    jobs, tmp_path: Path, launcher: str
) -> None:
    """As an MPI does that ignores the operator's hostfile."""
    order = {"CNN_EXPECTED_HOSTS": "2", "CNN_EXPECTED_WORKERS_PER_HOST": "1"}
    run = ("--data", "digits", "--run_dir", tmp_path / "run")
    code, output = jobs.run("jobs/train.py", *run, launcher=launcher, workers=2, **order)
    assert code == 2, output
    sentence = "(CNN_EXPECTED_HOSTS=2, CNN_EXPECTED_WORKERS_PER_HOST=1): there are 2 on "
    assert output.count(sentence) == 1
    assert "Traceback" not in output
    assert not (tmp_path / "run").exists()


def test_a_variable_that_horovod_would_believe_by_halves_is_refused_by_one_rank(jobs, tmp_path: Path) -> None:
    given = {"HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "600s", "HOROVOD_GLOO_TIMEOUT_SECONDS": "10m"}
    for launcher in ("mpirun", "horovodrun --gloo"):
        code, output = jobs.run("jobs/train.py", "--run_dir", tmp_path / "run", launcher=launcher, workers=2, **given)
        assert code != 0 if launcher != "mpirun" else code == 2, output
        assert output.count("error: the environment variable HOROVOD_STALL_SHUTDOWN_TIME_SECONDS is '600s': set") == 1
        assert not (tmp_path / "run").exists()


def test_a_full_disk_under_standard_output_does_not_lose_the_run(jobs, tmp_path: Path) -> None:
    run = ("jobs/train.py", "--data", "digits", "--model", "fcnn", "--steps", 2, "--run_dir", tmp_path / "run")
    command = ["bash", "-c", '"$@" >/dev/full', "bash", jobs.python, *map(str, run)]
    done = subprocess.run(command, cwd=ROOT, env=jobs.environment, stderr=subprocess.PIPE, text=True, check=False)
    output = done.stderr
    assert done.returncode == 0, output
    sentence = "standard output cannot be written (No space left on device): further output there is lost."
    assert output == f"warning: {sentence}\n"
    assert sentence in (tmp_path / "run" / "failure.log").read_text()
    assert (tmp_path / "run" / "summary.json").is_file()


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_run_whose_output_is_closed_is_whole(jobs, tmp_path: Path, closed: str) -> None:
    run = ("jobs/train.py", "--data", "digits", "--model", "fcnn", "--steps", 2, "--run_dir", tmp_path / "run")
    code, output = jobs.run(*run, within=("bash", "-c", f'"$@" {closed}', "bash"))
    assert code == 0, output
    code, output = jobs.run("jobs/evaluate.py", "--run_dir", tmp_path / "run")
    assert code == 0, output


def test_a_reader_that_has_enough_ends_the_run_without_a_word(jobs, tmp_path: Path) -> None:
    """As `jobs/train.py | head -1` does."""
    run = ("--data", "digits", "--model", "fcnn", "--steps", 10_000_000, "--save_every", 10, "--log_every", 1)
    job = jobs.start("jobs/train.py", *run, "--run_dir", tmp_path / "run")
    assert job.stdout.readline()
    job.stdout.close()
    assert job.wait(timeout=60) == 128 + signal.SIGPIPE
    reasons = (tmp_path / "run" / "failure.log").read_text()
    assert "the reader of the output has exited; resume with `" in reasons


def test_a_gpu_that_was_asked_for_and_is_not_there(jobs, tmp_path: Path) -> None:
    if list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has a GPU")
    for launcher, workers in (("none", 1), ("mpirun", 2)):
        run = ("--run_dir", tmp_path / "run")
        code, output = jobs.run("jobs/train.py", *run, launcher=launcher, workers=workers, CNN_DEVICE="gpu")
        assert code == 2, output
        assert output.count(" has no GPU (there is no /dev/nvidia0): do not request one, or start") == 1
        assert "Traceback" not in output
        assert not (tmp_path / "run").exists()
