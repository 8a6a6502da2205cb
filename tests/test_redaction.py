from __future__ import annotations

import pytest

from gridpilot.redaction import redacted, redacted_value

KEY = "6f1c2b9e-0d57-4a41-9a4c-0f3d2f6b8e11"
OTHER = "plain-key_NOT-a-uuid"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARA_API_KEY", f"{KEY},{OTHER}")
    monkeypatch.setenv("A_SHORT_TOKEN", "true")
    monkeypatch.setenv("NOTHING_SECRET_HERE", "not-struck-out-at-all")


@pytest.mark.parametrize(
    "echo",
    [
        KEY,
        KEY.upper(),
        KEY.replace("-", ""),
        "-".join(KEY),
        " ".join(KEY),
        KEY[:20],
        KEY[9:],
        OTHER,
        OTHER.upper(),
        f"E_{KEY}",
        f"{KEY}{OTHER}",
    ],
)
def test_an_echo_is_struck_out_and_the_rest_is_kept(echo: str) -> None:
    found = redacted(f"said <{echo}> on 12:00")
    assert found.startswith("said <")
    assert found.endswith("> on 12:00")
    plain = "".join(sign for sign in found.lower() if sign.isalnum())
    for secret in (KEY, OTHER):
        whole = "".join(sign for sign in secret.lower() if sign.isalnum())
        assert not any(whole[i : i + 12] in plain for i in range(len(whole) - 11))
    assert "[redacted]" in found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "true",
        "0.123456789012345",
        "not-struck-out-at-all",
        KEY[:8],
        "plain key",
        "Stra\u00dfe \u0130stanbul \u00e9",
        "x" * 5000,
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert redacted(text) == text


def test_letters_that_grow_when_made_small_do_not_shift_what_is_struck_out() -> None:
    assert redacted(f"\u0130\u0130 {KEY} \u0130") == "\u0130\u0130 [redacted] \u0130"


def test_values_keep_their_form() -> None:
    value = {"a": [KEY, 3, None, 2.5, True, {KEY: "b"}], "c": "d"}
    assert redacted_value(value) == {"a": ["[redacted]", 3, None, 2.5, True, {"[redacted]": "b"}], "c": "d"}
    assert redacted("of a caller: Abcd-Efgh-1234", ["abcdefgh1234"]) == "of a caller: [redacted]"
