"""What goes between an agent's process and this one.

Both ways, a message is a header (number of the question, kind, length) and as many bytes. Questions may be pickled, as the agent's
process has to trust its parent anyway. Answers are of a fixed form that is read as numbers and text only, and never longer than the
question allows: the parent trusts nothing that it is sent.

=========  ====================================================  ==================================================================
question   holds                                                 answers
=========  ====================================================  ==================================================================
``START``  how to be confined                                    one, empty
``BUILD``  target, parameters, seats, files it may read          one: its :class:`Facts`, or why there is no agent
``FILES``  nothing                                               one: a :class:`Report`
``OPEN``   time limit, view                                      one: all orders, or a refusal
``LOOK``   time limit, tick, what the view's fields hold now     one: the orders that the agent writes, or a refusal
``RESET``  time limit, starts                                    one a seat: nothing, or a refusal
``BID``    time limit, observations less what was told before    one a seat: a bid, or a refusal
``LEARN``  time limit, outcomes                                  one a seat: nothing, or a refusal
=========  ====================================================  ==================================================================
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.agents.players import EXCEPTIONS, INVALID, Refusal
from gridpilot.agents.view import ORDERS, READABLE, SEALED
from gridpilot.errors import FAILURES
from gridpilot.market.bids import Bid

__all__ = [
    "BID",
    "BUILD",
    "FILES",
    "HEADER",
    "LEARN",
    "LOOK",
    "MOST_ENTRIES",
    "MOST_TEXT",
    "OPEN",
    "RESET",
    "START",
    "Facts",
    "Garbled",
    "Report",
    "decode_bid",
    "decode_facts",
    "decode_orders",
    "decode_refusal",
    "decode_report",
    "encode_bid",
    "encode_orders",
    "encode_refusal",
    "fill",
    "most_bytes",
]

START, BUILD, OPEN, LOOK, RESET, BID, LEARN, FILES = range(8)
HEADER: Final = struct.Struct("<IIQ")  # number of the question, kind, bytes that follow
MOST_ENTRIES: Final = 1024  # blocks or commitment values of a bid that is sent; a market takes far fewer
MOST_TEXT: Final = 1200  # bytes of a message
_BID: Final = struct.Struct("<BIid")  # OK, blocks, commitment values (-1: None), storage value (nan: None)
_REFUSAL: Final = struct.Struct("<B")
_OK: Final = 255


class Garbled(Exception):
    """An answer that is not of the form it must have."""


@dataclass(frozen=True)
class Facts:
    """What is to be known of an agent before it plays, as its process tells it."""

    on_arrays: bool
    clairvoyant: bool
    learns: bool
    reads: Sequence[str]
    writes: Sequence[str]
    stated_blocks: int

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()


def decode_facts(answer: bytes) -> Facts | Refusal:
    """What the agent is like, or why there is none. Raises :class:`Garbled` for what no agent can be like."""
    if answer[:1] != b"{":
        return decode_refusal(answer) or Refusal(EXCEPTIONS, "no description")
    try:
        facts = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise Garbled(f"its description is no JSON: {error}") from error
    kinds = {"on_arrays": bool, "clairvoyant": bool, "learns": bool, "reads": list, "writes": list, "stated_blocks": int}
    if not isinstance(facts, dict) or {key: type(value) for key, value in facts.items()} != kinds:
        raise Garbled(f"its description is {facts!r:.100}")
    readable = (*READABLE, *SEALED) if facts["clairvoyant"] else READABLE
    for key, known in (("reads", readable), ("writes", ORDERS)):
        for name in facts[key]:
            if name not in known:
                raise Garbled(f"its {key} names {name!r:.40}, expected some of {', '.join(known)}")
    if not 0 <= facts["stated_blocks"] <= MOST_ENTRIES:
        raise Garbled(f"its stated_blocks is {facts['stated_blocks']}, expected 0 to {MOST_ENTRIES}")
    return Facts(**facts)


@dataclass(frozen=True)
class Report:
    """Files of the user's that an agent's process has to do with."""

    opened: Sequence[str]  # absolute paths of those that it has read
    defaults: dict[str, str]  # default arguments of the agent that name a file

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()


def decode_report(answer: bytes) -> Report:
    """Raises :class:`Garbled`."""
    try:
        report = json.loads(answer)
        opened, defaults = report["opened"], report["defaults"]
        texts = [*opened, *defaults.values()]
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        raise Garbled(f"no report: {error!r:.100}") from error
    if not all(isinstance(text, str) and "\0" not in text for text in texts):
        raise Garbled("a report of files that have no names")
    return Report(opened, defaults)


def encode_refusal(refusal: Refusal | None) -> bytes:
    """A refusal, or that there is none."""
    if refusal is None:
        return _REFUSAL.pack(_OK)
    return _REFUSAL.pack(refusal.why) + refusal.message.encode(errors="replace")[:MOST_TEXT]


def decode_refusal(answer: bytes) -> Refusal | None:
    """Raises :class:`Garbled`."""
    why = answer[0] if answer else -1
    if why == _OK and len(answer) == 1:
        return None
    if why not in range(len(FAILURES)):
        raise Garbled("a refusal of no known kind")
    return Refusal(why, answer[1:].decode(errors="replace")[:300])


def encode_bid(answer: Bid | Refusal) -> bytes:
    """A bid, or a refusal."""
    if isinstance(answer, Refusal):
        return encode_refusal(answer)
    values = answer.commitment_value
    count = -1 if values is None else len(values)
    for name, entries in (("blocks", len(answer.blocks)), ("commitment_value", count)):
        if entries > MOST_ENTRIES:
            return encode_refusal(Refusal(INVALID, f"bid: {name} has {entries} entries, expected at most {MOST_ENTRIES}"))
    storage_value = float("nan") if answer.storage_value is None else answer.storage_value
    return (
        _BID.pack(_OK, len(answer.blocks), count, storage_value)
        + answer.blocks.tobytes()
        + (b"" if values is None else values.tobytes())
    )


def decode_bid(answer: bytes) -> Bid | Refusal:
    """A bid that is one, or why it is none. Raises :class:`Garbled`."""
    if answer[:1] != bytes([_OK]):
        return decode_refusal(answer) or Refusal(EXCEPTIONS, "no bid")
    if len(answer) < _BID.size:
        raise Garbled("half a bid")
    _, blocks, count, storage_value = _BID.unpack_from(answer)
    if len(answer) != _BID.size + 16 * blocks + 8 * max(count, 0) or count < -1:
        raise Garbled("a bid of another length than it says")
    numbers = np.frombuffer(answer, offset=_BID.size)
    return Bid(
        numbers[: 2 * blocks].reshape(-1, 2),
        None if np.isnan(storage_value) else storage_value,
        None if count < 0 else numbers[2 * blocks :],
    )


def encode_orders(orders: Sequence[Any]) -> bytes:
    """What a view's orders hold."""
    return _REFUSAL.pack(_OK) + b"".join([array.tobytes() for array in orders])


def decode_orders(answer: bytes, orders: Sequence[Any]) -> Refusal | None:
    """Fill ``orders``, or say why not. Raises :class:`Garbled`."""
    if answer[:1] != bytes([_OK]):
        return decode_refusal(answer)
    if len(answer) != 1 + sum(array.nbytes for array in orders):
        raise Garbled("orders of another size than the view's")
    fill(orders, answer, 1)
    return None


def fill(arrays: Sequence[npt.NDArray[Any]], data: bytes, offset: int = 0) -> int:
    """Copy raw numbers into ``arrays``, one after another; the offset behind them."""
    for array in arrays:
        if array.size:
            array[...] = np.frombuffer(data, array.dtype, array.size, offset).reshape(array.shape)
            offset += array.nbytes
    return offset


def most_bytes(kind: int, orders: Sequence[Any] = ()) -> int:
    """The longest answer to a question of this kind."""
    room = {BID: _BID.size + 24 * MOST_ENTRIES, BUILD: 64 * MOST_ENTRIES, FILES: 1024 * MOST_ENTRIES}.get(kind, 0)
    return max(room, 1 + MOST_TEXT, 1 + sum(int(array.nbytes) for array in orders))
