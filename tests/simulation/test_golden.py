"""Journals of every format version so far must replay as they did when they were written.

``v1-threads`` was recorded on real threads (retries, retry-after, timeouts, late results, a
deadline, a cancel, an abort), ``v1-virtual`` on virtual time; ``v1-wrong`` is the latter with one
decision changed on purpose, and its checksums put right. ``v2-threads``, recorded on real threads,
has what came with format 2: tasks with a parent, resizes and slots that are retired; an abandoned
attempt holds its slot while the pool shrinks.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.journal import Seal, encode_records, read_journal
from simulation.replay import NondeterminismError, replay

GOLDEN = Path(__file__).resolve().parent.parent / "golden"

DIGESTS = {
    "v1-threads": "sha256:5bcc2d3b73bee4690bfbf299162b294d78e879b6028469e6fa6cf1e232f10a89",
    "v2-threads": "sha256:66810fb4ddbdd128b1444b6224121cf3851ac9b21c2c9af350d9b9d0f6e738fb",
    "v1-virtual": "sha256:47b6d1e9ea979e9563529e41ccac6916d491454c57caa9fa01a46bbbdb1a83ac",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_golden_journals_replay(name: str) -> None:
    found = replay(GOLDEN / f"{name}.jsonl", check=True)
    assert found.divergence is None
    assert found.journal.complete
    assert found.journal.digest == DIGESTS[name]


@pytest.mark.parametrize("name", DIGESTS)
def test_golden_journals_are_written_as_they_stand(name: str) -> None:
    """replay(J) = J, byte for byte."""
    path = GOLDEN / f"{name}.jsonl"
    raw = path.read_bytes()
    journal = read_journal(path)
    header = raw.split(b"\n")[0]
    start = header.rindex(b',"crc":')
    seal = Seal(header[:start].replace(b'"closed    "', b'"open      "') + b"}")
    written = seal.header.replace(b'"open      "', b'"closed    "')
    written += seal.lines(encode_records(journal.records))
    assert raw.startswith(written)
    assert raw[len(written) :].startswith(b'{"records":')


@pytest.mark.parametrize("name", DIGESTS)
def test_a_prefix_replays_to_the_same_prefix(name: str, tmp_path: Path) -> None:
    raw = (GOLDEN / f"{name}.jsonl").read_bytes().replace(b'"closed    "', b'"open      "')
    lines = raw.splitlines(keepends=True)
    path = tmp_path / "prefix.jsonl"
    for count in range(1, len(lines), 7):
        path.write_bytes(b"".join(lines[:count]))
        found = replay(path)
        assert found.divergence is None
        assert len(found.journal.records) == count - 1
        assert not found.journal.complete


def test_the_wrong_one_is_found_at_its_index() -> None:
    found = replay(GOLDEN / "v1-wrong.jsonl")
    assert found.divergence is not None
    assert found.divergence.index == 40
    assert [field["field"] for field in found.divergence.fields] == ["out[0].until_ns"]
    with pytest.raises(NondeterminismError, match="step 40"):
        found.raise_for_divergence()
