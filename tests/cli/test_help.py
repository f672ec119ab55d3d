"""What the help says is so: every example of it runs, and options are the same everywhere."""

from __future__ import annotations

import re
import shlex
import shutil
from collections import defaultdict
from pathlib import Path

import click
import pytest

from simulation import LogNormal, Modelled
from simulation.cli import cli
from tests.cli.running import simulation
from tests.whatif.recordings import record

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = click.Context(cli)
COMMANDS = {name: cli.get_command(CONTEXT, name) for name in cli.list_commands(CONTEXT)}

#: What an example takes a minute for, in a second; the last counts of an option given twice.
SHORTER = {
    "--runs": "3",
    "--schedules": "2",
    "--seconds": "0.5",
    "--processes": "1",
}
#: With as few runs as that, what has a target or a bound may not be told.
MAY_BE = {"recommend": {0, 1}, "gate": {0, 3}}


def examples() -> list[str]:
    pages = [simulation("--help").stdout, *(simulation(n, "--help").stdout for n in COMMANDS)]
    text = "\n".join(pages).replace("\\\n", "")
    return list(dict.fromkeys(re.findall(r"^ +(python -m simulation .*)$", text, re.MULTILINE)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples name."""
    path = tmp_path_factory.mktemp("help")
    shutil.copytree(ROOT / "examples", path / "examples")
    (path / "journals").mkdir()
    journal = record(path / "run.jsonl", 70, lambda n: Modelled(LogNormal(2.0, 0.2)))
    for number in (1, 2):
        model = Modelled(LogNormal(2.0, 0.2))
        record(path / "journals" / f"{number}.jsonl", 20, model, seed=number, epoch=1e9 + number)
    for name in ("spans.jsonl", "http.jsonl"):
        assert simulation("export", journal, "--to", "otlp", "-o", path / name).returncode == 0
    (path / "http.toml").write_text('[task]\nspan = "task *"\n[attempt]\nspan = "attempt *"\n')
    assert simulation("calibrate", "--seconds", 0.5, "-o", path / "machine.json").returncode == 0
    fitted = simulation("fit", journal, "-o", path / "run.toml", "--runs", 3, "--force")
    assert fitted.returncode == 0
    return path


@pytest.mark.parametrize("line", examples())
def test_an_example_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line.replace("Q017", "t17"))[3:]
    command = COMMANDS[words[0]]
    assert command is not None
    has = {name for param in command.params for name in param.opts}
    words += [word for name, value in SHORTER.items() if name in has for word in (name, value)]
    if words[0] == "fit":
        words.append("--force")  # three runs say little of how well it fits
    done = simulation(*words)
    assert done.returncode in MAY_BE.get(words[0], {0}), done.stderr
    assert done.stdout


def test_every_command_has_an_example_and_a_short_help() -> None:
    told = {shlex.split(line)[3] for line in examples()}
    assert told == set(COMMANDS)
    listed = simulation("--help").stdout.partition("Commands:")[2]
    assert "..." not in listed
    assert "exit codes: 0 fine; 1" in " ".join(simulation("--help").stdout.lower().split())


def test_an_option_says_the_same_everywhere() -> None:
    """Two commands that have it have its help, its values and its default alike, but for what is
    theirs: what a change is for, which file is written, what a seed is of."""
    own = {"changes", "output", "seed", "journal", "scenario", "token", "task", "wanted"}
    seen: dict[tuple[str, ...], set[tuple[object, ...]]] = defaultdict(set)
    for command in COMMANDS.values():
        assert command is not None
        for param in command.params:
            if isinstance(param, click.Option) and param.name not in own:
                described = param.help, param.metavar, str(param.type), str(param.default)
                seen[tuple(param.opts)].add(described)
    assert {opts: told for opts, told in seen.items() if len(told) > 1} == {}


def test_every_option_is_explained_and_names_what_it_takes() -> None:
    for name, command in COMMANDS.items():
        assert command is not None
        for param in command.params:
            if isinstance(param, click.Option) and param.name != "help":
                assert param.help, f"{name} {param.opts}"
                assert param.help.endswith("."), f"{name} {param.opts}"
                choice = isinstance(param.type, click.Choice)
                assert param.is_flag or param.metavar or choice, f"{name} {param.opts}"
