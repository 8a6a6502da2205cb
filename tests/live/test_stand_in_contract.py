"""The stand-in keeps to its own OpenAPI document, whatever it is asked and however it is switched: checked by schemathesis."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from gridpilot.live.clock import ManualClock
from gridpilot.live.stand_in.app import create_app
from gridpilot.live.stand_in.options import StandInOptions
from tests.live.worlds import START, walk

OPTION_SETS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "texts": {
        "numbers_as_strings": True, "trailing_z": True, "extra_fields": True, "register_status": 201, "put_status": 202,
        "sites_shape": "list", "sites_with_key": False, "before_first_put": "not_found", "unauthorised_status": 403,
        "over_cap_status": 400, "over_cap_shape": "nested", "wrong_type_status": 400, "error_shape": "text",
        "inventory": "documented",
    },
    "strict": {
        "unknown_fields": "refuse", "numeric_strings": False, "omitted": "reset", "sites_shape": "wrapped", "keep_rows": 3,
        "order": "oldest_first", "over_cap_status": 401, "over_cap_shape": "nested", "error_shape": "empty",
        "before_first_put": "null_fields", "history": 20,
    },
}  # fmt: skip


def contract(name: str) -> Any:
    """The OpenAPI document of a stand-in, and the stand-in behind it."""
    app = create_app(StandInOptions(**OPTION_SETS[name]), walk(30), ManualClock(START))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def check(case: Any) -> None:
    key = case.operation.app.state.stand_in.sites.register("a site").key
    # A body that fits its schema may still ask for more power than there is, which no schema can say.
    excluded = [positive_data_acceptance] if case.operation.label == "PUT /machines" else []
    case.call_and_validate(headers={"X-Api-Key": key}, excluded_checks=excluded)


@contract("defaults").parametrize()
@settings(max_examples=50)
def test_answers_are_as_documented(case: Any) -> None:
    check(case)


@contract("texts").parametrize()
@settings(max_examples=50)
def test_answers_are_as_documented_where_all_is_text(case: Any) -> None:
    check(case)


@contract("strict").parametrize()
@settings(max_examples=50)
def test_answers_are_as_documented_where_less_is_taken(case: Any) -> None:
    check(case)


def test_refusals_that_share_a_status_are_both_documented() -> None:
    app = create_app(StandInOptions(wrong_type_status=400, over_cap_shape="nested"), walk(3), ManualClock(START))
    answer = app.openapi()["paths"]["/machines"]["put"]["responses"]["400"]
    named = [part["$ref"].rpartition("/")[2] for part in answer["content"]["application/json"]["schema"]["anyOf"]]
    assert named == ["DetailError", "NestedError"]
    assert "; or: More power than the site has" in answer["description"]
