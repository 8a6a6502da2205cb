"""Every code block of the pages runs, on something small, or is of a kind that is named here with the reason why it does not.

Commands run in this process, one after the other as the page has them, in a folder that holds what the page speaks of: a tournament, a
journal, a file of prices. What a command would take minutes for is made small by further overrides; what needs a server, a site or a
key is composed and checked (``--cfg job``), and not run.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

from gridpilot.cli import main
from tests.test_structure import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "envs" / "README.md",
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.name[0] != "_" and "_build" not in path.parts),
]
FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4}\S.*\n)+", re.MULTILINE)
SHOWN = {
    "": "what is printed, or data",
    "text": "what is printed",
    "bibtex": "read by others: tests/test_docs.py holds its version",
}
"""Kinds of blocks that are not code."""


class Rule(NamedTuple):
    """What is done with commands that a pattern finds: run, with ``more``; or not, with a reason. The first that fits counts."""

    pattern: str
    more: str = ""
    why_not: str = ""  # why it is only composed or not run at all


TINY = "episodes=1 ticks=12 history=24 deadline=60"
RULES = (
    Rule(
        r"^(git|cd|source|pip|\.venv/bin/pip|\./scripts/\w+|scripts/\w+)\b",
        why_not="sets up, or is a test of its own (tests/test_scripts.py)",
    ),
    Rule(r"^echo ", why_not="the other end of its pipe is run"),
    Rule(r"^gridpilot (serve-mara|dashboard)\b", why_not="serves until it is stopped: tests/live, tests/insight"),
    Rule(r"^gridpilot live register\b", why_not="asks a server for a site: tests/live/test_register_command.py"),
    Rule(r"^gridpilot live .*deployment=", why_not="needs a key and the event's server"),
    Rule(r"^gridpilot live .*(live=stand_in|live\.alerts)", "--cfg job", why_not="waits for a server: composed alone"),
    Rule(r"^gridpilot live (agent=\S+ )?live=simulated", "live.rows=12"),
    Rule(r"^gridpilot live halt (--all|4711)", why_not="needs engines that run: tests/live/test_halt_command.py"),
    Rule(r"^gridpilot live halt ", "--ahead live.journal=runs/live.db"),
    Rule(r"^gridpilot live resume", "live.journal=runs/live.db"),
    Rule(r"^gridpilot live (status|verify|export|report)\b"),
    Rule(r"^gridpilot train .*algo=ppo", "--cfg job", why_not="minutes, and torch: tests/training; composed alone"),
    Rule(r"^gridpilot tune ", "--cfg job", why_not="minutes, torch and optuna: tests/training/test_tune.py; composed alone"),
    Rule(r"^gridpilot league ", "--cfg job", why_not="minutes, and torch: tests/training/test_league.py; composed alone"),
    Rule(
        r"^gridpilot tournament .*iteration-", "--cfg job", why_not="a policy of a league that is not played here: composed alone"
    ),
    Rule(r"^gridpilot exploit .*--train", why_not="minutes, and torch: tests/hindsight/test_exploit_command.py"),
    Rule(r"^gridpilot train ", "--cfg job", why_not="a minute: tests/training; composed alone"),
    Rule(
        r"^gridpilot policy import ",
        why_not="of the scripts of the page: tests/training (test_vec_env.py, test_other_libraries.py) runs both",
    ),
    Rule(
        r"^gridpilot tournament .*MyPrices", "--cfg job", why_not="a price model that the page does not spell out: composed alone"
    ),
    Rule(r"^gridpilot tournament -m ", why_not="six tournaments: tests/test_sweep.py"),
    Rule(r"^gridpilot tournament .*ensemble", "episodes=1 ticks=2 history=24 deadline=60 lineups=[mixed] backend=serial"),
    Rule(r"^gridpilot tournament ", f"{TINY} lineups=[mixed] backend=serial"),
    Rule(
        r"^gridpilot deploy .*--max-regret-percent",
        "--despite few_episodes,regret --max-regret-percent 1000 --out limited",
    ),
    Rule(r"^gridpilot deploy .*--agent learned", "--despite few_episodes --out learned_site"),
    Rule(r"^gridpilot deploy ", "--despite few_episodes"),
    Rule(r"^gridpilot exploit ", "--episodes 1"),
    Rule(r"^gridpilot climatology ", "episodes=2"),
    Rule(r"^gridpilot backtest .*members=all", "--cfg job", why_not="minutes, and the extra forecast: composed alone"),
    Rule(r"^gridpilot backtest ", "members=[persistence] days=4 every=4"),
    Rule(r"^gridpilot simulate-prices ", "episodes=2"),
    Rule(r"^gridpilot calibrate "),
    Rule(r"^gridpilot evolve ", "generations=2 populations=2 ticks=12 history=24"),
    Rule(r"^gridpilot validate", "scale=0.02 only=[myerson]"),
    Rule(r"^gridpilot explain .*", "--offline"),
    Rule(r"^gridpilot check .*greed=2", why_not="a class that the page does not spell out"),
    Rule(r"^gridpilot replay (RUN|run) --episode 1000000 (--out|$)", "--rotation 1"),
    Rule(r"^gridpilot (--help|check|inspect|clear|best-response|solve-game|replay)\b"),
)
NAMES = {"RUN": "run", "JOURNAL": "runs/live.db", "FILE": "runs/live.db", "FOLDER": "my_policy", "DIR": "site", "runs/NAME": "run",
         "out=run": "out=played", "210": "10"}  # fmt: skip
"""What stands for a path or a class of the reader's, or is too large for a run of 24 ticks."""
NAME = re.compile("|".join(rf"(?<![\w/.-]){re.escape(name)}(?![\w/.-])" for name in NAMES))


class Command(NamedTuple):
    words: list[str]
    before: list[str]  # the command that it is at the end of a pipe of
    line: str


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and text of each block, those that are indented as "indented"."""
    text = page.read_text(encoding="utf-8")
    yield from FENCE.findall(text)
    for match in INDENTED.finditer(FENCE.sub("", text)):
        yield "indented", match.group()


def commands(page: Path) -> list[Command]:
    """All commands of a page, in order."""
    found = []
    for language, text in blocks(page):
        for line in text.replace("\\\n", " ").splitlines():
            if language == "sh" or (language == "indented" and re.match(r"\s+(\S+=\S* )*gridpilot ", line)):
                found += parsed(line)
    return found


def parsed(line: str) -> list[Command]:
    """Commands of a line: apart at ``;``, ``&&`` and ``|``, without what is set before them in the environment."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&")
    lexer.whitespace_split, lexer.commenters = True, "#"
    found: list[Command] = []
    words: list[str] = []
    piped = False
    for word in [*lexer, ";"]:
        if word not in {";", "&&", "|"}:
            words.append(word)
            continue
        while words and re.match(r"[A-Z_]+=", words[0]):
            words = words[1:]
        if words:
            found.append(Command(words, found[-1].words if piped else [], line.strip()))
        piped, words = word == "|", []
    return found


def rule_of(command: Command) -> Rule:
    line = " ".join(command.words)
    found = next((rule for rule in RULES if re.search(rule.pattern, line)), None)
    assert found is not None, f"{command.line!r}: no rule says how it is run, or why it is not"
    return found


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    for page in PAGES:
        for language, _ in blocks(page):
            known = {"sh", "python", "yaml", "json", "indented", *SHOWN}
            assert language in known or re.fullmatch(r"\{\w+(-\w+)*\}", language), f"{page.name}: a block of {language!r}"


def test_every_command_has_a_rule_and_every_rule_a_command() -> None:
    used = [rule_of(command) for page in PAGES for command in commands(page)]
    assert [rule.pattern for rule in RULES if rule not in used] == []
    run = [rule for rule in used if not rule.why_not]
    assert len(run) > 60, "more of the commands ran"
    with pytest.raises(AssertionError, match="no rule"):
        rule_of(parsed("gridpilot brew tea")[0])


def test_data_that_is_shown_is_data() -> None:
    for page in PAGES:
        for language, text in blocks(page):
            if language in {"json", "yaml"}:
                (json.loads if language == "json" else yaml.safe_load)(text)


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages speak of."""
    folder = tmp_path_factory.mktemp("pages")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (source,) = [text for language, text in FENCE.findall(readme) if language == "python" and "class MyAgent" in text]
    more = '''

class Evening(MyAgent):
    """As the tutorial calls it."""
'''
    (folder / "my_file.py").write_text(source + more, encoding="utf-8")
    rng = np.random.default_rng(0)
    hours = np.arange(40 * 24)
    price = 30.0 + 10.0 * np.sin(hours / 24 * 2 * np.pi) + 3.0 * rng.standard_normal(len(hours)).cumsum() / 20
    times = np.datetime64("2024-01-01T00:00") + hours * np.timedelta64(60, "m")
    rows = [f"{at},{value:.3f}" for at, value in zip(times, price, strict=True)]
    (folder / "my_prices.csv").write_text("\n".join(["time,price", *rows]) + "\n", encoding="utf-8")
    market = {"bids": [[[600, 0.2]], [[500, 0.15]]], "supply": [[1000, 0.05]], "capacity": 1000}
    (folder / "market.json").write_text(json.dumps(market), encoding="utf-8")
    game = {"kind": "moran", "input": {"process": "moran", "relative_fitness": 1.1, "population": 10}}
    (folder / "game.json").write_text(json.dumps(game), encoding="utf-8")
    shutil.copytree(ROOT / "gridpilot" / "policies" / "shipped" / "vcg", folder / "my_policy")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GRIDPILOT_RUNTIME_DIR", str(folder / "engines"))
        tiny = ["ticks=24", "history=24", "episodes=2", "backend=serial", "lineups=[mixed,self]"]
        assert main(["tournament", "agents=[threshold,mpc,learned]", *tiny, "out=run"]) == 0
        assert main(["live", "agent=mpc", "live=simulated", "live.rows=30", "live.journal=runs/live.db"]) == 0
    return folder


@pytest.fixture(scope="module")
def done() -> set[str]:
    """Commands that have run, which a page after it need not run again."""
    return set()


def arguments(command: Command, rule: Rule) -> list[str]:
    """Of the command as it is run."""
    named = [NAME.sub(lambda found: NAMES[found[0]], word) for word in command.words[1:] if word != "..."]
    more = rule.more.split()
    if "--despite" in more and "--agent" not in named:
        more = []
    return [*named, *more]


PRACTICED = [page for page in PAGES if any(not rule_of(command).why_not or rule_of(command).more for command in commands(page))]


@pytest.mark.docs
@pytest.mark.parametrize("page", PRACTICED, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_run(
    page: Path, things: Path, done: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(things)
    monkeypatch.setenv("GRIDPILOT_RUNTIME_DIR", str(things / "engines"))
    monkeypatch.syspath_prepend(str(things))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for command in commands(page):
        rule = rule_of(command)
        words = arguments(command, rule)
        if (rule.why_not and not rule.more) or repr((words, command.before)) in done:
            continue
        done.add(repr((words, command.before)))
        if command.before:
            assert command.before[0] == "echo"
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(command.before[1].encode())))
        try:
            code = main(words)
        except SystemExit as ended:  # --help
            code = int(ended.code or 0)
        told = capsys.readouterr()
        assert code == 0, f"{command.line}: exit code {code}\n{told.err[-2000:]}"


TRAINERS = ("stable_baselines3", "skrl", "torchrl")
SMALL: tuple[tuple[str, str], ...] = (
    ("episodes=20", "episodes=1, ticks=12, history=24"), ("ticks=288", "ticks=12"), ("num_envs=4096", "num_envs=8"),
    ("num_envs=256", "num_envs=8"), ("trials=400, iterations=200_000", "trials=2, iterations=2_000"),
)  # fmt: skip


@pytest.mark.docs
@pytest.mark.parametrize(
    "page", [p for p in PAGES if any(kind == "python" for kind, _ in blocks(p))], ids=lambda p: str(p.relative_to(ROOT))
)
def test_the_python_of_the_pages_runs(page: Path, things: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for scripts that train, which tests/training (test_vec_env.py, test_other_libraries.py) run to policies that play."""
    monkeypatch.chdir(things)
    monkeypatch.syspath_prepend(str(things))
    made: dict[str, Any] = {"__name__": "page"}
    for kind, text in blocks(page):
        if kind == "python" and not any(f"from {library}" in text for library in TRAINERS):
            for long, short in SMALL:
                text = text.replace(long, short)
            exec(compile(text, str(page), "exec"), made)
