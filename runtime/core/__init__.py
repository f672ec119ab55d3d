"""The scheduling core: pure decisions, without clock, thread, file, log or ambient randomness.

``Core.handle(now_ns, stimulus)`` returns instructions; ``Core.next_deadline_ns()`` says when to
wake it. ``states`` holds the transition table, ``records`` what goes in and comes out,
``invariants`` what must always hold.
"""

from runtime.core.scheduler import Core
from runtime.core.settings import CoreSettings

__all__ = ["Core", "CoreSettings"]
