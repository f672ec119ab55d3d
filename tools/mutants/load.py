"""A core with one of its lines replaced, beside the true one, in memory only.

Only the scheduler and what it alone stands on are copied. The oracles (``invariants``, ``audit``,
``witness``) keep the true modules, so no bug can blind the one who looks for it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Final

import runtime.core
from runtime.core import Core
from tools.mutants.catalogue import Mutant

__all__ = ["LostMutantError", "mutated_core"]

_FOLDER: Final = Path(runtime.core.__file__).parent
#: What is copied, in the order of their imports.
_COPIED: Final = ("backoff", "ready", "scheduler")


class LostMutantError(ValueError):
    """A mutant whose text is not, or not only once, in the core any more."""


def mutated_core(mutant: Mutant) -> type[Core]:
    """Make a core with a bug.

    Args:
        mutant: the bug.

    Returns:
        Its class.

    Raises:
        LostMutantError: the text that it replaces is not there exactly once.
    """
    if mutant.module not in _COPIED:
        raise LostMutantError(f"{mutant.name}: {mutant.module} is not copied, use one of {_COPIED}")
    true = {f"runtime.core.{name}": sys.modules.get(f"runtime.core.{name}") for name in _COPIED}
    try:
        for name in _COPIED:
            source = (_FOLDER / f"{name}.py").read_text(encoding="utf-8")
            if name == mutant.module:
                found = source.count(mutant.old)
                if found != 1:
                    raise LostMutantError(
                        f"{mutant.name}: its old text stands {found} times in {name}.py, not once"
                    )
                source = source.replace(mutant.old, mutant.new)
            module = ModuleType(f"runtime.core.{name}")
            module.__file__ = f"{name}.py with {mutant.name}"
            sys.modules[f"runtime.core.{name}"] = module
            exec(compile(source, module.__file__, "exec"), module.__dict__)
        made: type[Core] = sys.modules["runtime.core.scheduler"].Core
        return made
    finally:
        for full, before in true.items():
            if before is None:
                sys.modules.pop(full, None)
            else:
                sys.modules[full] = before
