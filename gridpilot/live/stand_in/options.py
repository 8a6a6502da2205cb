"""What the API's description leaves open, as switches. Every default is a guess where the description says ``[U]`` or ``[I]``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt, ValidationError

from gridpilot.errors import ConfigError
from gridpilot.suggestions import did_you_mean

__all__ = ["ErrorShape", "StandInOptions", "describe_options", "parse_options"]

ErrorShape = Literal["detail", "detail_list", "error", "nested", "text", "empty"]
"""``{"detail": text}``, ``{"detail": [{"msg": text}]}``, ``{"error": text}``, ``{"error": {"message": text}}``, plain text, no body."""

Refused = Annotated[int, Field(ge=400, le=499)]
Skew = Annotated[float, Field(ge=-1e9, le=1e9)]  # s


class StandInOptions(BaseModel):
    """One field a switch. Each description says what it decides and how sure the default is."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # What is documented or was observed; not guesses.
    inventory: Literal["documented", "live"] = Field("live", description="machine types: as documented, or as at the event")
    power_w: PositiveInt = Field(1_000_000, description="power of a site, W; documented")
    history: PositiveInt = Field(1, description="rows that are there at the start")
    row_delay_s: NonNegativeFloat = Field(
        0.0, description="age at which a row becomes visible, feed seconds; at the event up to 26"
    )

    # Sites.
    register_status: Literal[200, 201] = Field(200, description="status of POST /sites; a guess")
    sites_shape: Literal["object", "list", "wrapped"] = Field(
        "object", description='GET /sites: the site itself, a list of it, or {"site": ...}; a guess'
    )
    sites_with_key: bool = Field(True, description="whether GET /sites tells the api_key; a guess")

    # Prices.
    order: Literal["newest_first", "oldest_first"] = Field("newest_first", description="order of GET /prices; observed")
    keep_rows: PositiveInt | None = Field(
        None, description="GET /prices gives the last so many rows; null, all, was observed for days"
    )
    row_skew_s: Skew = Field(0.0, description="seconds added to the rows' timestamps")

    # Machines.
    omitted: Literal["keep", "reset"] = Field("keep", description="what PUT does to a field that it leaves out; a guess")
    put_status: Literal[200, 201, 202] = Field(200, description="status of PUT /machines; a guess")
    numeric_strings: bool = Field(True, description='whether PUT takes "10" for 10; inferred')
    unknown_fields: Literal["ignore", "refuse"] = Field(
        "ignore", description="what PUT does with fields it does not know; inferred"
    )
    before_first_put: Literal["zeros", "not_found", "nothing", "empty_object", "null_fields"] = Field(
        "zeros", description="GET /machines before the first PUT: all 0, status 404, null, {} or every field null; a guess"
    )

    # Refusals.
    unauthorised_status: Literal[401, 403] = Field(401, description="status for a missing or unknown key; a guess")
    over_cap_status: Refused = Field(400, description="status of a PUT over the site's power, which is not applied; a guess")
    over_cap_shape: ErrorShape = Field("detail", description="its body; a guess")
    wrong_type_status: Refused = Field(422, description="status for a body that is not what it should be; a guess")
    error_shape: ErrorShape = Field("detail", description="body of every other refusal; a guess")

    # Everywhere.
    trailing_z: bool = Field(False, description="whether timestamps end in Z; naive ones were observed")
    numbers_as_strings: bool = Field(False, description="whether numbers are sent as text; they were not at the event")
    extra_fields: bool = Field(False, description="whether objects hold fields nobody knows; they did not at the event")
    date_skew_s: Skew = Field(0.0, description="seconds by which the Date header is off; a guess")


def parse_options(values: Mapping[str, Any]) -> StandInOptions:
    """Options by name. Raises :class:`~gridpilot.errors.ConfigError` that names every wrong one and what was expected."""
    try:
        return StandInOptions.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError("; ".join(_problem(problem) for problem in error.errors(include_url=False))) from error


def _problem(problem: Mapping[str, Any]) -> str:
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return f"unknown option {name!r}; {did_you_mean(name, StandInOptions.model_fields, alike=0.7) or '--list-options names them all'}"
    return f"{name} is {problem['input']!r:.60}, expected {_choices(name)}"


def describe_options() -> str:
    """Every option with its choices, default and meaning, two lines each."""
    lines = []
    for name, field in StandInOptions.model_fields.items():
        default = json.dumps(field.default).strip('"')
        lines.append(f"{name}={default}  ({_choices(name)})\n    {field.description}")
    return "\n".join(lines)


def _choices(name: str) -> str:
    schema = StandInOptions.model_json_schema()["properties"][name]
    return " or ".join(_choice(part) for part in schema.get("anyOf", [schema]))


def _choice(schema: Mapping[str, Any]) -> str:
    if "const" in schema or "enum" in schema:
        return ", ".join(str(value) for value in schema.get("enum", [schema.get("const")]))
    match schema["type"]:
        case "boolean":
            return "true or false"
        case "null":
            return "null"
        case kind:
            noun = "a whole number" if kind == "integer" else "a number"
            low = f" above {schema['exclusiveMinimum']:g}" if "exclusiveMinimum" in schema else ""
            low = f" from {schema['minimum']:g}" if "minimum" in schema else low
            return noun + low + (f" to {schema['maximum']:g}" if "maximum" in schema else "")
