"""Preemption at shared accesses: where plain Python may be held up between two bytecodes.

Strands hand on the baton where they wait; between two waits a function runs alone, and a race in
plain Python, ``x = self.n; self.n = x + 1``, is never seen. With the fault ``preempt`` a trace
function (``sys.settrace``, opcode events) offers a choice before each bytecode of the user's own
code that reads or writes what others may share: attributes, items, variables of an enclosing
function, globals that the function writes. Bounded by departures, the systematic search is context
bounding (M. Musuvathi, S. Qadeer, 'Iterative Context Bounding for Systematic Testing of
Multithreaded Programs', PLDI 2007): most races need one or two preemptions in the right place.

What C code does in one call is one step, as under the GIL. The standard library and installed
packages are not traced: their own locks make them safe, or that is their tests' business.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final

from simulation.world.hidden import is_own_code

__all__ = ["traced"]

_SHARED: Final = frozenset(
    {
        "LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR",
        "LOAD_DEREF", "STORE_DEREF", "DELETE_DEREF", "STORE_GLOBAL", "DELETE_GLOBAL",
        "BINARY_SUBSCR", "BINARY_SLICE", "STORE_SUBSCR", "STORE_SLICE", "DELETE_SUBSCR",
        "CONTAINS_OP",
    }
)  # fmt: skip

_places: Final[dict[CodeType, frozenset[int]]] = {}


def _shared_in(code: CodeType) -> frozenset[int]:
    """Where a function reads or writes what others may share; nowhere in what is not a user's."""
    found = _places.get(code)
    if found is None:
        file = code.co_filename
        there: list[dis.Instruction] = []
        if not (is_own_code(file) or "site-packages" in file or file.startswith("<frozen")):
            there = list(dis.get_instructions(code))
        written = {i.argval for i in there if i.opname == "STORE_GLOBAL"}
        _places[code] = found = frozenset(
            i.offset
            for i in there
            if i.opname in _SHARED or (i.opname == "LOAD_GLOBAL" and i.argval in written)
        )
    return found


def traced(function: Callable[[], None], offer: Callable[[FrameType], None]) -> Callable[[], None]:
    """A function that offers a choice at each shared access while it runs.

    Args:
        function: what a strand runs.
        offer: called with the frame that is about to touch what is shared.

    Returns:
        The function to run instead.
    """

    def at_opcode(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "opcode" and frame.f_lasti in _places[frame.f_code]:
            offer(frame)
        return at_opcode

    def at_call(frame: FrameType, event: str, arg: Any) -> Any:
        if not _shared_in(frame.f_code):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return at_opcode

    def run() -> None:
        before = sys.gettrace()
        sys.settrace(at_call)
        try:
            function()
        finally:
            sys.settrace(before)

    return run
