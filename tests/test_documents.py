from __future__ import annotations

import json
from typing import Any

import pytest

from gridpilot.documents import DEEPEST, MOST, read_json, read_yaml, refuse_control_signs
from gridpilot.errors import ConfigError

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 5000 + "]" * 5000, "f: .*nested deeper than 60 levels"),
        ("[" * 100 + "]" * 100, "nested deeper than 60 levels"),
        ("a: &a [*a]", "nested deeper than 60 levels or refers to itself"),
        ("a: &a {b: {c: *a}}", "refers to itself"),
        (BOMB, f"stands for more than {MOST:,} values"),
        ("!!python/object/apply:os.system ['true']", "f is not YAML: could not determine a constructor"),
        ("a: [1, 2", "f is not YAML"),
        ("a: \0", "f is not YAML"),
        (b"\xff\xfe\xfa", "f is not YAML"),
        ("2024-13-45", "f is not YAML: month must be"),
    ],
)
def test_what_is_no_configuration_is_refused_in_a_line(text: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("f: .*", "f is ")) as told:
        read_yaml(text, "f", ConfigError)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


@pytest.mark.parametrize("text", ["[" * 200_000 + "]" * 200_000, "[" * 80 + "]" * 80, '{"a": ' * 70 + "1" + "}" * 70, "{", b"\xff"])
def test_json_as_well(text: str | bytes) -> None:
    with pytest.raises(ConfigError, match="f is ") as told:
        read_json(text, "f", ConfigError)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("content", [{"a": [1, {"b": None}]}, [], "x", 3.5, None])
def test_what_is_one_is_read(content: Any) -> None:
    assert read_json(json.dumps(content), "f", ConfigError) == content
    assert read_yaml(json.dumps(content), "f", ConfigError) == content


def test_as_deep_as_allowed_is_allowed() -> None:
    text = "[" * DEEPEST + "]" * DEEPEST
    assert read_json(text, "f", ConfigError) == json.loads(text)
    assert read_yaml("a: &a [1, 2]\nb: [*a, *a]", "f", ConfigError)["b"] == [[1, 2], [1, 2]]


@pytest.mark.parametrize(
    "content", ["a\x1b[2J", {"b\x07": 1}, [{"c": ["\x9b31m"]}], {"d": ("right\u202eleft",)}, "back\x08space", "\r"]
)
def test_signs_that_steer_a_terminal_are_refused(content: Any) -> None:
    with pytest.raises(ConfigError, match="signs that steer a terminal") as told:
        refuse_control_signs(content, "f", ConfigError)
    assert str(told.value).isprintable()


@pytest.mark.parametrize("text", ["line\nline\t", "\u00e9\u4e2d [red]x[/]"])
def test_text_is_text(text: str) -> None:
    content = {"a": [text, 3, None, {"b": 2.5}]}
    refuse_control_signs(content, "f", ConfigError)
    with pytest.raises(ConfigError):  # and with one such sign in it, it is not
        refuse_control_signs({**content, "c": f"{text}\x07"}, "f", ConfigError)
