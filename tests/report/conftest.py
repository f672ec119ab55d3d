from __future__ import annotations

from pathlib import Path

import pytest

from runtime.journal import Journal, read_journal
from tests.report.runs import real_run, simulated_run


@pytest.fixture(scope="module")
def journal_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated_run(tmp_path_factory.mktemp("runs") / "run.jsonl")


@pytest.fixture(scope="module")
def journal(journal_path: Path) -> Journal:
    return read_journal(journal_path)


@pytest.fixture(scope="module")
def real_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return real_run(tmp_path_factory.mktemp("real") / "run.jsonl")


@pytest.fixture(scope="module")
def real(real_path: Path) -> Journal:
    return read_journal(real_path)
