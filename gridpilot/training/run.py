"""Training from beginning to end: a policy, what it is worth, and its folder."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gridpilot.agents.base import Agent
from gridpilot.agents.by_value import entry_of
from gridpilot.columns import SafeConsole
from gridpilot.configuration import composed_with, validate
from gridpilot.errors import ConfigError, MissingExtraError, PolicyError
from gridpilot.files import check_output, write_atomically
from gridpilot.policies.folder import DESCRIPTION, save_policy
from gridpilot.policies.policy import Policy
from gridpilot.presets import described as preset
from gridpilot.prices.load import price_parameters
from gridpilot.progress import Progress
from gridpilot.provenance import TRAINING_ROOMS, code_hash, versions
from gridpilot.setup import load_setup
from gridpilot.training.algorithms import ALGORITHMS
from gridpilot.training.calibration import calibrate
from gridpilot.training.card import CardFacts, by_rule, write_card
from gridpilot.training.clone import build_teacher, clone
from gridpilot.training.config import TRAINING, TrainConfig, evaluation_episodes
from gridpilot.training.curve import described, picture
from gridpilot.training.evaluation import Comparison, compare, elsewhere
from gridpilot.training.markets import Field, seats_of, specs_of
from gridpilot.training.network import Network, require_torch
from gridpilot.training.search import search
from gridpilot.training.tuning import Look, Tuning

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Training", "entries_of", "train", "train_configured"]

_NOT_SETTINGS: Final = ("market", "prices", "out", "json")
_BOARD: Final = "tensorboard"  # a folder in that of the policy


@dataclass(frozen=True)
class Training:
    """What training found."""

    policy: Policy
    card: str  # Markdown
    comparisons: tuple[Comparison, ...]  # in the field of the training first, then elsewhere
    seconds: float  # of CPU time, without the evaluation
    folder: Path | None  # where it was written
    curves: Mapping[int, tuple[float, ...]]  # of searches, by seed: mean reward of an episode in each update, with its exploration
    looks: Mapping[int, tuple[Look, ...]]  # of searches, by seed: gains on the episodes of tuning, every so many updates

    @property
    def curve(self) -> pd.DataFrame:
        """A row a seed and update: its ``reward``, and where it was looked at the gain over each rival with the ends of its interval."""
        import pandas as pd

        rows = []
        for seed, rewards in self.curves.items():
            at = {look.update: look for look in self.looks.get(seed, ())}
            for update, reward in enumerate(rewards, start=1):
                row: dict[str, Any] = {"seed": seed, "update": update, "reward": reward}
                for name, gain in at[update].gains.items() if update in at else ():
                    row |= {f"over {name}": gain.value, f"over {name}_low": gain.low, f"over {name}_high": gain.high}
                rows.append(row)
        return pd.DataFrame(rows)

    @property
    def figures(self) -> pd.DataFrame:
        """A row a comparison; $ per site and day, with the ends of each interval (``_low``, ``_high``)."""
        import pandas as pd

        rows = []
        for one in self.comparisons:
            row: dict[str, Any] = {"where": one.where, "against": one.other, "episodes": one.episodes}
            for name in ("profit", "gain", "percent"):
                estimate = getattr(one, name)
                row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            rows.append(row)
        return pd.DataFrame(rows)


def train(
    out: Path | str | None = None,
    *,
    market: str | Path | Mapping[str, Any] = "default",
    prices: str | Path | Mapping[str, Any] | pd.DataFrame = "ercot",
    quiet: bool = False,
    **settings: Any,
) -> Training:
    """Train a policy and measure it: what ``gridpilot train`` does with the same settings, bit for bit.

    ``out``       the folder to be written; none without
    ``market``    a name of ``conf/market``, a YAML file of that form, or a mapping; ``prices`` as for :func:`gridpilot.load_setup`
    ``quiet``     no progress on stderr
    ``settings``  every other key of ``conf/train.yaml``, of nested ones those that change: ``clone={"rounds": 4}``; ``mechanism`` changes
                  the market's. ``rivals`` and who is compared with (``against``) may also be classes and instances of agents, and Paths of
                  policies' folders

    Raises :class:`~gridpilot.errors.MissingExtraError` without torch, and :class:`~gridpilot.errors.GridPilotError` with one line for
    whatever cannot be trained or written.
    """
    changed = {key: settings.pop(key) for key in ("mechanism",) if key in settings}
    config = composed_with("train", _plain(settings), closed=_NOT_SETTINGS)
    config |= {
        "out": None if out is None else str(out),
        "market": preset("market", market) | changed,
        "prices": price_parameters(prices),
    }
    return train_configured(config, SafeConsole(stderr=True, quiet=quiet), "gridpilot.train(...)")


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with all agents as a configuration names them."""
    found = dict(settings)
    if "rivals" in found:
        found["rivals"] = entries_of(found["rivals"])
    for section in ("tuning", "evaluation"):
        inner = found.get(section)
        if isinstance(inner, Mapping) and "against" in inner:
            found[section] = {**inner, "against": entries_of(inner["against"])}
    return found


def entries_of(agents: Any) -> list[Any]:
    """Agents as a configuration names them: classes, instances and Paths of policies' folders as well. One may be given alone."""
    if isinstance(agents, str | Path | Mapping | type | Agent):
        agents = [agents]
    if not isinstance(agents, Sequence):
        raise ConfigError(f"train: agents are {agents!r:.100}, expected one or a list of them")
    found: list[Any] = []
    for agent in agents:
        if isinstance(agent, Path):
            found.append({"name": "learned", "label": agent.name, "policy": str(agent)})
        elif isinstance(agent, type | Agent):
            found.append({"label": (agent if isinstance(agent, type) else type(agent)).__name__, **entry_of(agent)})
        else:
            found.append(agent)
    return found


def train_configured(
    config: Mapping[str, Any], console: SafeConsole, command: str, *, looking: Callable[..., Tuning] = Tuning
) -> Training:
    """Train as ``conf/train.yaml`` with overrides says; ``command`` is what was called, for the card, ``looking`` makes what looks."""
    settings = validate(TrainConfig, config, "train")
    out = None if settings.out is None else Path(settings.out)
    if out is not None:
        _check_folder(out)
    require_torch()
    if settings.algo in ALGORITHMS:
        ALGORITHMS[settings.algo].model()
    if settings.tensorboard:
        _check_tensorboard(settings)
    if settings.init is not None and settings.algo != "ppo":
        raise ConfigError(
            f"train: init is {settings.init!r}, expected null for algo={settings.algo}: only ppo goes on from a policy"
        )
    setup = load_setup(settings.market, settings.prices, ticks=settings.ticks, history=settings.history)
    field = Field(setup, settings.seat, specs_of(settings.rivals))
    mechanism = setup.rules.mechanism
    against = specs_of(settings.evaluation.against_under(mechanism))
    tuned = specs_of(settings.tuning.against_under(mechanism))
    if settings.algo != "clone" and settings.search.shading and settings.bidding_under(mechanism) is not None:
        raise ConfigError(
            f"train: {settings.search.shading} shading factors and bidding_rule {settings.bidding_under(mechanism)}, expected one of them: "
            "bidding_rule=truthful lets the policy itself say how far a bid is from the truth"
        )
    seats_of(field, evaluation_episodes(settings.evaluation.episodes))
    build_teacher(settings.clone.teacher)
    progress = Progress("train", console)
    begin = time.process_time()
    tuning = looking(field, tuned, settings.tuning, settings.evaluation.seed)
    made = _trained(field, settings, out, tuning, progress)
    seconds = time.process_time() - begin
    policy = dataclasses.replace(made.policy, training=_manifest(settings, command, made.episodes))
    found = _measured(policy, field, settings, against, progress)
    facts = CardFacts(
        command=command,
        where=_where(settings, field),
        how=made.how,
        episodes=made.episodes,
        seed=settings.evaluation.seed,
        seconds=seconds,
    )
    home = [one for one in found if one.where == _HOME]
    card = write_card(policy, facts, home, found[len(home) :])
    if out is not None:
        save_policy(policy, out, card)
        if made.curves:
            _write_curves(out, made)
        for seed in made.curves:
            _checkpoint(out, seed).unlink(missing_ok=True)
    return Training(policy, card, tuple(found), seconds, out, made.curves, made.looks)


class _Made(NamedTuple):
    """A policy, how it came about, on how many episodes; its curve and looks, of searches."""

    policy: Policy
    how: str
    episodes: int
    curves: Mapping[int, tuple[float, ...]] = {}
    looks: Mapping[int, tuple[Look, ...]] = {}


def _trained(field: Field, settings: TrainConfig, out: Path | None, tuning: Tuning, progress: Progress) -> _Made:
    """Policies of as many seeds as are wanted; of these the one with the highest bound on the episodes of tuning."""
    made: dict[int, _Made] = {}
    for seed in settings.all_seeds:
        if settings.algo == "clone":
            made[seed] = _cloned(field, settings, seed, progress)
        else:
            made[seed] = _searched(field, settings, seed, out, tuning, progress)
    if len(made) == 1:
        return next(iter(made.values()))
    looks = {
        seed: max(one.looks.get(seed, ()), key=lambda look: look.bound, default=None) or tuning.look(one.policy, 0)
        for seed, one in made.items()
    }
    best = made[max(looks, key=lambda seed: looks[seed].bound)]
    told = "; ".join(f"seed {seed} {look.told()}" for seed, look in looks.items())
    how = f"{best.how}, the best of {len(made)} seeds on {settings.tuning.episodes} other episodes, $ per site and day ({told}),"
    return best._replace(
        how=how,
        curves={seed: curve for one in made.values() for seed, curve in one.curves.items()},
        looks={seed: found for one in made.values() for seed, found in one.looks.items()},
    )


def _cloned(field: Field, settings: TrainConfig, seed: int, progress: Progress) -> _Made:
    wanted, bidding = settings.clone, settings.bidding_under(field.setup.rules.mechanism)
    with progress.of(wanted.rounds, what=f"rounds of seed {seed}") as advance:
        policy, _ = clone(field, wanted, seed=seed, layers=tuple(settings.layers), bidding=bidding, advance=advance)
    labels = f"DAgger, {wanted.rounds} rounds of {wanted.markets} markets, a label every {wanted.every} ticks"
    if also := wanted.also_under(field.setup.rules.mechanism):
        labels += f", {', '.join(specs_of(also))} among the rivals"
    how, episodes = f"Cloned from `{wanted.teacher}` ({labels}{by_rule(bidding)})", wanted.rounds * wanted.markets
    if rounds := settings.calibration.rounds_under(bidding):
        with progress.of(rounds, what=f"rounds of calibration of seed {seed}") as advance:
            policy, moved = calibrate(
                policy, field, settings.calibration, rounds=rounds, seed=seed, first=episodes, advance=advance
            )
        told = " and ".join(f"{by:+.3f}" for by in moved)
        how += f", its storage and commitment entries moved by {told} on {settings.calibration.episodes} more episodes,"
        episodes += settings.calibration.episodes
    return _Made(policy, how, episodes)


def _searched(field: Field, settings: TrainConfig, seed: int, out: Path | None, tuning: Tuning, progress: Progress) -> _Made:
    wanted, layers, algorithm = settings.search, tuple(settings.layers), ALGORITHMS[settings.algo]
    mechanism = field.setup.rules.mechanism
    bidding = settings.bidding_under(mechanism)

    def start() -> Network:
        with progress.of(settings.clone.rounds, what="rounds of the clone") as advance:
            shading = wanted.shading_under(mechanism, bidding)
            return clone(field, settings.clone, seed=seed, layers=layers, shading=shading, bidding=bidding, advance=advance)[1]

    with progress.of(wanted.updates, what=f"updates of seed {seed}") as advance:
        policy, curve, looks = search(
            algorithm, field, wanted, seed=seed, layers=layers, start=start if settings.init == "clone" else None,
            bidding=bidding,
            checkpoint=None if out is None else _checkpoint(out, seed), identity=_identity(settings, seed), advance=advance,
            tuning=tuning if settings.tuning.every else None, tell=progress.note,
            board=out / _BOARD if out is not None and settings.tensorboard else None,
        )  # fmt: skip
    begun = f"a clone of `{settings.clone.teacher}`" if settings.init == "clone" else "scratch"
    baseline = f", rewards over those of `{wanted.baseline}`" if wanted.baseline else ""
    updates = f"{len(curve)} updates of {wanted.markets:,} episodes{baseline}{by_rule(bidding)}"
    how = f"Searched for from {begun} by {algorithm.title} ({updates})"
    if looks and (best := max(looks, key=lambda look: look.bound)).update != len(curve):
        how += f", kept as it was after {best.update} of them,"
    cloned = settings.clone.rounds * settings.clone.markets if settings.init == "clone" else 0
    return _Made(policy, how, max(len(curve) * wanted.markets, cloned), {seed: curve}, {seed: looks})


def _write_curves(out: Path, made: _Made) -> None:
    text = json.dumps(described(made.curves, made.looks), indent=1, allow_nan=False) + "\n"
    write_atomically(out / "curve.json", text.encode(), PolicyError)
    write_atomically(out / "curve.png", picture(made.curves, made.looks), PolicyError)


def _checkpoint(out: Path, seed: int) -> Path:
    return out / f".checkpoint-{seed}.pt"


def _identity(settings: TrainConfig, seed: int) -> str:
    """What a training is known by: of equal ones one goes on where the other was interrupted."""
    kept = settings.model_dump(mode="json", by_alias=True, exclude={"out", "json_", "evaluation", "seed", "seeds", "tensorboard"})
    return hashlib.sha256(
        json.dumps([kept, seed, settings.evaluation.seed, code_hash(*TRAINING_ROOMS), _versions(settings)], sort_keys=True).encode()
    ).hexdigest()


_HOME: Final = "as trained"


def _measured(
    policy: Policy, field: Field, settings: TrainConfig, against: Mapping[str, Any], progress: Progress
) -> list[Comparison]:
    wanted = settings.evaluation
    others = elsewhere(field, settings.prices) if wanted.elsewhere else {}
    best = dict(list(against.items())[-1:])  # elsewhere the last of them alone
    total = wanted.episodes * (1 + len(against)) + wanted.elsewhere * 2 * len(others)
    with progress.of(total, what="episodes of evaluation") as advance:
        found = []
        if wanted.episodes:
            found += compare(policy, field, against, where=_HOME, episodes=wanted.episodes, seed=wanted.seed, advance=advance)
        for where, other in others.items():
            found += compare(policy, other, best, where=where, episodes=wanted.elsewhere, seed=wanted.seed, advance=advance)
    return found


def _where(settings: TrainConfig, field: Field) -> str:
    seat = "every seat in turn" if settings.seat == "rotating" else f"seat {settings.seat}"
    return (
        f"{seat} of a {field.setup.rules.mechanism} market of {len(field.setup.sites)} sites, days of {settings.ticks} ticks, "
        f"{', '.join(field.rivals)} in the other seats"
    )


def _manifest(settings: TrainConfig, command: str, episodes: int) -> dict[str, Any]:
    """What the numbers came from, without times, so that equal trainings write equal files."""
    kept = settings.model_dump(mode="json", by_alias=True, exclude={"out", "json_", "evaluation", "tensorboard"})
    return {
        "command": command,
        "config": kept,
        "episodes": {"first": TRAINING, "count": episodes},
        "code": code_hash(*TRAINING_ROOMS),
        "versions": _versions(settings),
    }


def _versions(settings: TrainConfig) -> dict[str, str | None]:
    own = [] if settings.algo == "clone" else dict.fromkeys(["stable-baselines3", ALGORITHMS[settings.algo].distribution])
    return versions(("gridpilot", "numpy", "numba", "torch", *own))


def _check_tensorboard(settings: TrainConfig) -> None:
    if settings.out is None or settings.algo == "clone":
        raise ConfigError("train: tensorboard=true, expected a search (algo=ppo, ...) and a folder for what it writes (out=FOLDER)")
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingExtraError("train: tensorboard=true", "tensorboard")


def _check_folder(out: Path) -> None:
    check_output(out, PolicyError, folder=True)
    strange = out.is_dir() and any(not entry.name.startswith(".") and entry.name != _BOARD for entry in out.iterdir())
    if strange and not (out / DESCRIPTION).exists():
        raise PolicyError(f"{out} is not empty and holds no {DESCRIPTION}, expected a new folder or that of an earlier policy")
