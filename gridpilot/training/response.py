"""Best responses: a policy that is trained to earn as much as it can among others who do not learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gridpilot.policies.policy import Policy
from gridpilot.progress import Progress
from gridpilot.training.algorithms import ALGORITHMS
from gridpilot.training.clone import clone
from gridpilot.training.config import CloneConfig
from gridpilot.training.league_config import ResponseSearch
from gridpilot.training.markets import Field
from gridpilot.training.network import Network
from gridpilot.training.search import search
from gridpilot.training.tuning import Look, Tuning

__all__ = ["Response", "best_response", "cloned_in_words"]


class Response(NamedTuple):
    """The policy that did best on the episodes of tuning, how it came about, and on how many episodes it was trained."""

    policy: Policy
    how: str
    episodes: int


def best_response(
    field: Field,
    cloning: CloneConfig,
    searching: ResponseSearch | None,
    tuning: Tuning,
    *,
    seed: int,
    layers: tuple[int, ...],
    checkpoint: Path | None,
    identity: str,
    progress: Progress,
    tell: Callable[[str], None] | None = None,
    incumbent: tuple[str, Policy] | None = None,
) -> Response:
    """Train against the rivals of ``field``: a clone, and a search by PPO that begins at it; of the two the better on ``tuning``.

    ``searching``   how; ``None``: the clone is the response
    ``incumbent``   one of the rivals, and its policy: where the clone earns less among them, the search begins at it instead, as
                    ``searching.from_policy`` says
    ``checkpoint``  and ``identity`` as in :func:`gridpilot.training.search.search`: the clone is then made again, the search goes on

    A lower bound of what a best response earns: what these two find, in the time that they are given. Equal seeds give the same bits on a
    machine. Raises what they raise.
    """
    made: list[Network] = []

    def cloned(shading: int) -> Policy:
        with progress.of(cloning.rounds, what="rounds of the clone") as advance:
            policy, network = clone(field, cloning, seed=seed, layers=layers, shading=shading, advance=advance)
        made.append(network)
        return policy

    shading = 0 if searching is None else searching.shading_under(field.setup.rules.mechanism)
    begun = cloned(shading)
    how = cloned_in_words(cloning)
    episodes = cloning.rounds * cloning.markets
    if searching is None:
        return Response(begun, how, episodes)
    looked = tuning.look(begun, 0)  # before the search moves the network
    if tell is not None:
        tell(f"clone: {looked.told()} $ per site and day")
    start, begun_at = made[0], "then searched for"
    if incumbent is not None and (looked.gains[incumbent[0]].value or 0.0) < 0.0:
        searching = searching.beginning_at_policy()
        start, begun_at = Network.of(incumbent[1]), f"and, as it earned less, searched for from {incumbent[0]}"
    algorithm = ALGORITHMS["ppo"]
    with progress.of(searching.updates, what="updates") as advance:
        found = search(
            algorithm, field, searching, seed=seed, layers=layers, start=lambda: start, checkpoint=checkpoint, identity=identity,
            advance=advance, tuning=tuning, tell=tell,
        )  # fmt: skip
    best: Look = max(found.looks, key=lambda look: look.bound)
    if best.bound <= looked.bound:
        return Response(
            begun,
            f"{how}; {len(found.curve)} updates of {algorithm.title} found nothing better, so that it is the clone,",
            episodes,
        )
    searched = f"{len(found.curve)} updates of {searching.markets:,} episodes, kept as it was after {best.update}"
    return Response(
        found.policy,
        f"{how}, {begun_at} by {algorithm.title} ({searched})",
        max(episodes, len(found.curve) * searching.markets),
    )


def cloned_in_words(cloning: CloneConfig) -> str:
    """How a clone came about, for its card."""
    teacher = cloning.teacher if isinstance(cloning.teacher, str) else cloning.teacher.get("name")
    return f"Cloned from `{teacher}` (DAgger, {cloning.rounds} rounds of {cloning.markets} markets)"
