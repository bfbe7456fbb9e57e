"""Beginning with the weights of another run."""

from pathlib import Path
from typing import TYPE_CHECKING

from cnn.errors import UserError
from cnn.training.saved_run import open_run
from cnn.training.state import fits

if TYPE_CHECKING:
    import keras

_NAMED = 5


def initialize_from(folder: Path, network: "keras.Model") -> str:
    """Gives a network the weights of another run's best checkpoint; the averaged ones, where there are such.

    The layers that tell the classes apart, which are those whose names end in `logits`, begin anew where the other run
    had another number of classes.

    Returns:
        A sentence on what was taken.

    Raises:
        UserError: it is no run folder, or its network differs in other layers, which are named.
    """
    weights, step = open_run(folder).weights("best")
    fitting = {
        variable.path: variable
        for variable in network.variables
        if variable.path in weights and fits(variable, weights[variable.path])
    }
    paths = dict.fromkeys([*(variable.path for variable in network.variables), *weights])
    differing = list(dict.fromkeys(path.rpartition("/")[0] for path in paths if path not in fitting))
    new = [layer for layer in differing if layer.endswith("logits")]
    wrong = [layer for layer in differing if layer not in new]
    if wrong:
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise UserError(
            f"--initialize_from {folder} does not fit {network.name}: these layers are not in both, or have other "
            f"shapes there: {', '.join(wrong[:_NAMED])}{more}; name a run of the same network and image size."
        )
    for path, variable in fitting.items():
        variable.assign(weights[path].astype(variable.dtype, copy=False))
    anew = f"; anew: {', '.join(new)}" if new else ""
    return f"begins with the weights of {folder} after step {step:,}{anew}"
