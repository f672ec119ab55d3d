"""Every test leaves the world as it found it."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest

from simulation.host import VirtualHost
from simulation.world.patches import is_patched

# A shell without job control starts what it puts in the background with Ctrl-C ignored, and so
# would be the processes in which tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester"]  # for tests/plugin; it may be asked for at the top alone


@pytest.fixture(autouse=True)
def _nothing_stays_patched() -> Iterator[None]:
    """A simulated pool that nobody closed would be open for the tests after it, too."""
    yield
    if is_patched():
        gc.collect()
        for one in gc.get_objects() if is_patched() else ():
            if issubclass(type(one), VirtualHost):  # a proxy's __class__ may raise
                one.release()
