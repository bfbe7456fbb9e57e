"""What surrounds a run's steps as text."""

from collections.abc import Mapping
from typing import Any


def control_path_table(measured: Mapping[str, Any]) -> str:
    """Formats a row for each phase of a run, then the memory and the files of the workers.

    Args:
        measured: the fields of cnn.measuring.control_path.ControlPath.
    """
    lines = [
        f"{measured['workers']} workers",
        f"{'':>25} {'seconds':>18} {'processor ms':>18} {'all threads':>12} {'messages':>9} {'bytes':>12}",
        f"{'phase':>25} {'rank 0':>9} {'most':>8} {'rank 0':>9} {'others':>8} {'ms':>12} {'':>9} {'received':>12}",
    ]
    for phase in measured["phases"]:
        in_step = f" + {phase['compiled_collectives']} a step" if phase["compiled_collectives"] else ""
        lines.append(
            f"{phase['name']:>25} {phase['seconds']:9.3f} {phase['max_seconds']:8.3f} "
            f"{1e3 * phase['processor_seconds']:9.1f} {1e3 * phase['max_processor_seconds']:8.1f} "
            f"{1e3 * phase['all_processor_seconds']:12.1f} {phase['collectives']:9} "
            f"{phase['received_bytes']:12,}{in_step}"
        )
    private, most = (f"{each / 1e6:,.0f} MB" for each in measured["private_bytes"])
    shared = f"{measured['shared_bytes'] / 1e6:,.0f} MB"
    opened = ", ".join(f"{name} {own} and {most}" for name, (own, most) in measured["opened_files"].items())
    return "\n".join(
        [
            *lines,
            f"memory of their own: rank 0 {private}, others up to {most}; shared {shared}",
            "descriptors: rank 0 {}, others up to {}".format(*measured["open_files"]),
            f"files opened after the imports, by rank 0 and at most by another: {opened}",
        ]
    )
