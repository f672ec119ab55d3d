"""Damaged journals: a typed error or a named divergence, no wrong replay, no traceback."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.journal import Journal, JournalError, read_journal
from simulation.replay import replay
from tools.fuzz_journal import FORGED, MUTATIONS, WrongReplayError, examine, reseal, sample_journal


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    path = tmp_path_factory.mktemp("whole") / "run.jsonl"
    path.write_bytes(sample_journal(0))
    return read_journal(path)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "run.jsonl"


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_damage_passes_for_the_truth(whole: Journal, damaged: Path, data: st.DataObject) -> None:
    forged = data.draw(st.booleans())
    names = st.sampled_from(FORGED if forged else sorted(MUTATIONS))
    raw = sample_journal(0)
    for name in data.draw(st.lists(names, min_size=1, max_size=3)):
        raw = MUTATIONS[name](raw, lambda low, high: data.draw(st.integers(low, high)))
    examine(reseal(raw) if forged else raw, whole, damaged, forged=forged)


@pytest.mark.parametrize("name", MUTATIONS)
def test_each_kind_of_damage_by_seed(whole: Journal, damaged: Path, name: str) -> None:
    came: Counter[str] = Counter()
    for seed in range(25):
        luck = random.Random(seed)
        raw = MUTATIONS[name](sample_journal(0), luck.randint)
        came[examine(raw, whole, damaged, forged=False)] += 1
    assert came["refused"] + came["diverged"], "this kind of damage does none"


def test_no_flipped_bit_of_the_header_passes(whole: Journal, damaged: Path) -> None:
    raw = sample_journal(0)
    for at in range(raw.index(b"\n")):
        flipped = bytearray(raw)
        flipped[at] ^= 1 << at % 8
        assert examine(bytes(flipped), whole, damaged, forged=False) == "refused", at


@pytest.mark.parametrize("place", range(10))
@pytest.mark.parametrize("bit", range(8))
def test_the_state_and_its_spaces_are_as_they_were_written(
    whole: Journal, damaged: Path, place: int, bit: int
) -> None:
    raw = bytearray(sample_journal(0))
    raw[raw.index(b'"state":"') + 9 + place] ^= 1 << bit
    damaged.write_bytes(raw)
    with pytest.raises(JournalError, match="line 1"):
        read_journal(damaged)


def test_a_forged_journal_is_told_from_a_damaged_one(whole: Journal, damaged: Path) -> None:
    assert reseal(sample_journal(0)) == sample_journal(0)
    other = sample_journal(1)
    with pytest.raises(WrongReplayError, match="passes for whole"):
        examine(other, whole, damaged, forged=False)
    assert replay(damaged).divergence is None
