"""Grids of settings, as they are written: ``max_workers=10,20,50``, ``max_workers=1:100:5``."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from simulation.whatif.settings import check_names

__all__ = ["MOST_CELLS", "grid", "parse_value", "parse_values"]

#: Cells of one grid; each is simulated 30 times and more.
MOST_CELLS: Final = 10_000
#: Fields of which ``none`` is a value by that name.
_NONE_IS_A_KIND: Final = ("jitter",)


def parse_value(name: str, text: str) -> Any:
    """Read one value of a field; ``none`` is unlimited, but for a kind that is called so.

    Args:
        name: the field.
        text: as written.

    Returns:
        A whole number, a number, ``None`` or the text.

    Example:
        >>> parse_value("task_timeout_seconds", "none"), parse_value("jitter", "none")
        (None, 'none')
    """
    if name not in _NONE_IS_A_KIND and text.lower() == "none":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parse_values(name: str, text: str) -> list[Any]:
    """Read the values of a field: a list with commas, or a range with both ends in it.

    Args:
        name: the field, for the message.
        text: ``10,20,50``, ``1:100`` or ``1:100:5``.

    Returns:
        The values in the order in which they are written.

    Raises:
        ValueError: the text is neither, or the range is empty or too long.

    Example:
        >>> parse_values("max_workers", "5:20:5")
        [5, 10, 15, 20]
        >>> parse_values("task_timeout_seconds", "0.5,30,none")
        [0.5, 30, None]
    """
    values: list[Any] = []
    for part in map(str.strip, text.split(",")):
        if not part:
            raise ValueError(f"{name}={text}: must be values with commas, or LOW:HIGH[:STEP]")
        values.extend(_range(name, part) if ":" in part else [parse_value(name, part)])
    return values


def _range(name: str, text: str) -> list[int]:
    try:
        low, high, step = (int(number) for number in [*text.split(":"), "1"][:3])
    except ValueError:
        raise ValueError(
            f"{name}={text}: a range is LOW:HIGH or LOW:HIGH:STEP, in whole numbers"
        ) from None
    if text.count(":") > 2 or step < 1 or high < low:
        raise ValueError(f"{name}={text}: a range is LOW:HIGH:STEP, LOW <= HIGH and STEP 1 or more")
    if (high - low) // step >= MOST_CELLS:
        raise ValueError(f"{name}={text}: has more than {MOST_CELLS:,} values; give a larger STEP")
    return list(range(low, high + 1, step))


def grid(vary: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the values of some fields.

    Args:
        vary: the values of each field.

    Returns:
        The cells; the last field changes first.

    Raises:
        ValueError: no field, an unknown one, one without values or with one value twice, or more
            cells than ``MOST_CELLS``.

    Example:
        >>> grid({"max_workers": [10, 20], "max_retries": [1, 2]})[1]
        {'max_workers': 10, 'max_retries': 2}
    """
    if not vary:
        raise ValueError("nothing varies: name a field and its values, as in max_workers=10,20,50")
    check_names(vary)
    for name, values in vary.items():
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise TypeError(f"{name}={values!r}: must be a list of values")
        if not values:
            raise ValueError(f"{name}: has no values")
        for at, value in enumerate(values):
            if value in values[:at]:
                raise ValueError(f"{name}: the value {value} is given twice")
    cells = math.prod(len(values) for values in vary.values())
    if cells > MOST_CELLS:
        raise ValueError(
            f"the grid has {cells:,} cells; {MOST_CELLS:,} are the most: vary fewer values"
        )
    names = list(vary)
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*vary.values())]
