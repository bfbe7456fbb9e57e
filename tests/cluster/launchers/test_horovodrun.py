"""The horovodrun that users type."""

import sys
from pathlib import Path


def test_it_is_ours() -> None:
    """Horovod's own runs what strangers send to its port; launch/setup.sh puts ours in its place."""
    script = Path(sys.executable).with_name("horovodrun").read_text()
    assert "from cnn.cluster.launchers.horovodrun import main" in script, "run launch/setup.sh"
