"""Every key of the configuration is explained where it stands: a reader of a file of conf never has to open the code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

CONF = Path(__file__).resolve().parents[1] / "conf"
FILES = sorted(path.relative_to(CONF).as_posix() for path in CONF.rglob("*.yaml"))
# Where one comment explains a whole block: entries of one form, and tables that a command writes.
BLOCKS = {
    "climatology": frozenset({"energy", "premium", "days"}),
    "market": frozenset({"sites"}),
    "prices": frozenset({"calibration"}),
}


def keys(node: yaml.Node, blocks: frozenset[str], path: str = "") -> Iterator[tuple[str, int]]:
    """Every key below ``node`` with its line; of a top-level key in ``blocks``, that key alone."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{path}{key.value}"
            yield name, key.start_mark.line
            if name not in blocks:
                yield from keys(value, blocks, f"{name}.")
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            yield from keys(item, blocks, f"{path}{i}.")


def has_comment(line: str) -> bool:
    """Whether a line of YAML holds a comment; no value of conf holds `` #``."""
    return line.lstrip().startswith("#") or " #" in line


def unexplained(text: str, blocks: frozenset[str] = frozenset()) -> list[str]:
    """Keys with no comment on their line or directly above it."""
    lines = text.splitlines()
    root = yaml.compose(text)
    if root is None:
        return []
    missing = []
    for name, line in keys(root, blocks):
        above = line > 0 and lines[line - 1].lstrip().startswith("#")
        if name.split(".")[0] != "defaults" and not has_comment(lines[line]) and not above:
            missing.append(name)
    return missing


@pytest.mark.parametrize("name", FILES)
def test_every_key_has_a_comment(name: str) -> None:
    text = (CONF / name).read_text(encoding="utf-8")
    assert unexplained(text, BLOCKS.get(name.split("/")[0], frozenset())) == []


@pytest.mark.parametrize("name", FILES)
def test_every_file_says_first_what_it_is(name: str) -> None:
    lines = [line for line in (CONF / name).read_text(encoding="utf-8").splitlines() if not line.startswith("# @package")]
    assert lines[0].startswith("# ")


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("# what it is\na: 1\nb: 2  # explained\n", []),
        ("# what it is\na: 1\nb: 2\n", ["b"]),
        ("a: {b: 1, c: 2}  # both explained here\n", []),
        ("a:  # outer\n  b: 1\n  # above\n  c:\n    d: 2\n", ["a.b", "a.c.d"]),
        ("sites:  # listed\n  - {name: one}\n  - {name: two}  # the other\n", ["sites.0.name"]),
        ("# far away\n\na: 1\n", ["a"]),
    ],
)
def test_the_rule_itself(text: str, missing: list[str]) -> None:
    assert unexplained(text) == missing
