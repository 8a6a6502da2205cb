"""The card of a policy: for people who think of playing it, and from measured figures alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gridpilot.policies.policy import Layout, Policy
from gridpilot.tournament.intervals import LEVEL, in_words
from gridpilot.training.config import EVALUATION, TRAINING
from gridpilot.training.evaluation import Comparison

__all__ = ["CardFacts", "write_card"]


@dataclass(frozen=True)
class CardFacts:
    """What the card tells besides the figures."""

    command: str  # that trains it
    where: str  # the field it was trained for, in words
    how: str  # it was trained, in words
    episodes: int  # of training
    seed: int  # of the episodes it was judged on
    seconds: float  # CPU, of training
    exploiter: str = ""  # label of a bidder among those compared that learned to exploit it


def write_card(policy: Policy, facts: CardFacts, at_home: Sequence[Comparison], elsewhere: Sequence[Comparison]) -> str:
    """Markdown: how it was trained, whom it beats by how much, and where it does not."""
    layout = policy.layout
    network = " - ".join(map(str, layout.sizes))
    held = "every tick" if layout.hold == 1 else f"every {layout.hold} ticks"
    lines = [
        "# Policy",
        "",
        f"Plays `{{name: learned, policy: FOLDER}}`: a network {network} ({layout.activation}), which decides {held}. Observation version "
        f"{layout.observation_version} for up to {layout.classes} machine classes, action version {layout.action_version} with "
        f"{layout.shading} shading factors.{_bids(layout)}",
        "",
        "## Training",
        "",
        f"    {facts.command}",
        "",
        f"{facts.how} in {facts.where}, on {facts.episodes:,} episodes from number {TRAINING:,} on, "
        f"which nothing is judged on. It took {facts.seconds:.0f} s of CPU time. The same command gives the same bits on the same machine.",
        "",
        "## Against others in the same seat",
        "",
    ]
    if not at_home:
        return "\n".join([*lines, "Not measured.", ""])
    lines += [
        f"Same seats, days and rivals; episodes from number {EVALUATION:,} on, seed {facts.seed}; $ per site and day, what is stored at "
        f"the end counted in; paired {100 * LEVEL:.0f} % intervals.",
        "",
        "| where | against | episodes | gain, $ | gain, % |",
        "| --- | --- | --- | --- | --- |",
        *(_row(found) for found in (*at_home, *elsewhere)),
        "",
        "## Where it fails",
        "",
        *_failures([*at_home, *elsewhere]),
        f"`{facts.exploiter}` was trained to exploit it. It has not been played at sites other than those of its market."
        if facts.exploiter
        else "It has not been played against bidders that learn to exploit it, nor at sites other than those of its market.",
        "",
    ]
    return "\n".join(lines)


def _bids(layout: Layout) -> str:
    if layout.bidding is None:
        return ""
    return (
        f" What it says that stored energy and running machines are worth the rule `{layout.bidding}` makes bids of, by the rivals' bids "
        "that were last made public; where none are, by the volume that they won."
    )


def _row(found: Comparison) -> str:
    return f"| {found.where} | {found.other} | {found.episodes:,} | {in_words(found.gain)} | {in_words(found.percent, 2)} |"


def _failures(found: Sequence[Comparison]) -> list[str]:
    lines = []
    for one in found:
        if one.gain.high is not None and one.gain.high < 0.0:
            lines.append(f"- {one.where}: it earns less than `{one.other}`, {in_words(one.gain)} $.")
        elif one.gain.low is None or one.gain.low <= 0.0:
            lines.append(f"- {one.where}: not shown to earn more than `{one.other}`, {in_words(one.gain)} $.")
    return [*(lines or ["Nowhere that was measured."]), ""]
