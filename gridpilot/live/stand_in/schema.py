"""What goes in and out, for validation and for the OpenAPI page: exactly what a stand-in with these options takes and gives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, create_model

from gridpilot.live.api import CLASSES
from gridpilot.live.stand_in.options import StandInOptions

__all__ = ["ERRORS", "Answers", "NewSite", "machines_body"]

W = TypeVar("W")  # of whole numbers
R = TypeVar("R")  # of real ones

Time = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{6})?Z?$")]
WholeText = Annotated[str, Field(pattern=r"^[0-9]+$")]
RealText = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?$")]


class _Answer(BaseModel):
    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """A server has one kind of number, so that the plain name will do."""
        return cls.__name__


# Requests.


class NewSite(BaseModel):
    """``POST /sites``."""

    name: str


def _count(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("expected a whole number")
    if isinstance(value, str):
        if re.fullmatch("[0-9]{1,18}", value) is None:
            raise ValueError("expected a whole number from 0 on")
        return int(value)
    return value


def _number_only(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError("expected a whole number, not text")
    return value


_NUMBER: Final[dict[str, Any]] = {"type": "integer", "minimum": 0}
_DIGITS: Final[dict[str, Any]] = {"type": "string", "pattern": "^[0-9]{1,18}$"}


def machines_body(options: StandInOptions) -> type[BaseModel]:
    """``PUT /machines``: any of the five fields; ``model_dump(exclude_unset=True)`` tells which."""
    number: Any = Annotated[int, Field(ge=0), BeforeValidator(_count)]
    if options.numeric_strings:
        number = Annotated[number, WithJsonSchema({"anyOf": [_NUMBER, _DIGITS]})]
    else:
        number = Annotated[number, BeforeValidator(_number_only), WithJsonSchema(_NUMBER)]
    fields: dict[str, Any] = {name: (number, Field(default=0, json_schema_extra=_without_default)) for name in CLASSES}
    config = ConfigDict(extra="forbid" if options.unknown_fields == "refuse" else "ignore")
    return create_model("MachineCounts", __config__=config, **fields)


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default")  # what a field that is left out means is an option


# Answers.


class SiteWithoutKey(_Answer, Generic[W]):
    """A site."""

    name: str
    power: W  # W


class SiteAnswer(SiteWithoutKey[W], Generic[W]):
    """A site with its key."""

    api_key: Annotated[str, Field(json_schema_extra={"format": "uuid"})]


class WrappedSite(_Answer, Generic[R]):
    """A site in an object of its own."""

    site: R


class PriceEntry(_Answer, Generic[R]):
    """Prices from their time on, for five minutes."""

    timestamp: Time
    energy_price: R
    hash_price: R
    token_price: R


class MinerType(_Answer, Generic[W]):
    """A kind of miner."""

    hashrate: W
    power: W  # W


class InferenceType(_Answer, Generic[W]):
    """A kind of inference machine."""

    tokens: W
    power: W  # W


class Miners(_Answer, Generic[W]):
    """The miners."""

    air: MinerType[W]
    hydro: MinerType[W]
    immersion: MinerType[W]


class Inference(_Answer, Generic[W]):
    """The inference machines."""

    asic: InferenceType[W]
    gpu: InferenceType[W]


class InventoryAnswer(_Answer, Generic[W]):
    """All machine types."""

    miners: Miners[W]
    inference: Inference[W]


class _Five(_Answer, Generic[R]):
    air_miners: R
    hydro_miners: R
    immersion_miners: R
    gpu_compute: R
    asic_compute: R


class Watts(_Five[W], Generic[W]):
    """W drawn by each class."""


class Revenue(_Five[R], Generic[R]):
    """Earned by each class in a row."""


class Allocation(_Five[W], Generic[W]):
    """The machines that run."""

    id: W
    site_id: W
    updated_at: Time


class Machines(Allocation[W], Generic[W, R]):
    """The machines that run, priced at the newest row."""

    power: Watts[W]
    revenue: Revenue[R]
    total_power_used: W  # W
    total_power_cost: R
    total_revenue: R


class NoMachines(BaseModel):
    """Nothing has been set yet."""

    model_config = ConfigDict(extra="forbid")


class NullMachines(_Five[None]):
    """Nothing has been set yet."""


@dataclass(frozen=True)
class Answers:
    """Types of the answers that a stand-in with these options gives."""

    new_site: Any
    site: Any
    prices: Any
    inventory: Any
    allocation: Any
    machines: Any

    @classmethod
    def of(cls, options: StandInOptions) -> Answers:
        """What these options mean."""
        # Their arguments are known at run time only, which a type checker cannot follow.
        generic: Any = (SiteAnswer, SiteWithoutKey, WrappedSite, list, PriceEntry, InventoryAnswer, Allocation, Machines)
        site, bare, wrapped, listed, entry, inventory, allocation, machines = generic
        whole: Any = WholeText if options.numbers_as_strings else int
        real: Any = RealText if options.numbers_as_strings else float
        shown = site[whole] if options.sites_with_key else bare[whole]
        shapes = {"object": shown, "list": listed[shown], "wrapped": wrapped[shown]}
        running = machines[whole, real]
        before: dict[str, Any] = {
            "nothing": running | None,
            "empty_object": running | NoMachines,
            "null_fields": running | NullMachines,
        }
        return cls(
            new_site=site[whole],
            site=shapes[options.sites_shape],
            prices=listed[entry[real]],
            inventory=inventory[whole],
            allocation=allocation[whole],
            machines=before.get(options.before_first_put, running),
        )


# Refusals.


class _Message(BaseModel):
    message: str


class _ListedMessage(BaseModel):
    msg: str


class DetailError(BaseModel):
    """A refusal."""

    detail: str


class DetailListError(BaseModel):
    """A refusal."""

    detail: list[_ListedMessage]


class PlainError(BaseModel):
    """A refusal."""

    error: str


class NestedError(BaseModel):
    """A refusal."""

    error: _Message


ERRORS: Final[dict[str, type[BaseModel] | None]] = {
    "detail": DetailError,
    "detail_list": DetailListError,
    "error": PlainError,
    "nested": NestedError,
    "text": None,
    "empty": None,
}
"""Body of a refusal by ``ErrorShape``; None where it is no JSON."""
