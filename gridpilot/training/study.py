"""A study: trainings with settings that Optuna suggests, on the tuning range of episodes; the best setting is judged once on others.

The sampler is the tree-structured Parzen estimator (Bergstra et al., "Algorithms for Hyper-Parameter Optimization", 2011); what is behind
the median of earlier trials, or by successive halving (Jamieson and Talwalkar 2016), ends early. What a trial is depends on the settings
and on the trials before it alone, so that an interrupted study ends as one that was not.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from gridpilot.columns import SafeConsole
from gridpilot.configuration import validate
from gridpilot.errors import ConfigError, MissingExtraError, PolicyError
from gridpilot.files import check_output, write_atomically
from gridpilot.policies.policy import Policy
from gridpilot.progress import Progress
from gridpilot.provenance import TRAINING_ROOMS, code_hash
from gridpilot.training.config import TrainConfig
from gridpilot.training.run import Training, train_configured
from gridpilot.training.space import Dimension, dimensions, looked_up, with_values
from gridpilot.training.tuning import Look, Tuning

__all__ = ["Study", "StudyConfig", "Trial", "TuneConfig", "tune_configured"]

JOURNAL: Final = "study.journal"
TABLE: Final = "trials.csv"
POLICY: Final = "policy"  # the folder of the best setting's policy, in that of the study
_OWN: Final = ("study", "space")  # of the configuration; all else is that of a training
_FREE: Final = ("out", "json", "evaluation", "tensorboard")  # may change between one part of a study and the next
_TRIAL: Final = "trial"  # the attribute of Optuna's trial that holds ours


class StudyConfig(BaseModel):
    """How settings are searched for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trials: PositiveInt
    objective: Literal["bound", "mean"]
    pruner: Literal["median", "halving"] | None
    startup: Annotated[int, Field(ge=1)]


class TuneConfig(TrainConfig):
    """``conf/tune.yaml``."""

    space: dict[str, Any]
    study: StudyConfig


@dataclass(frozen=True)
class Trial:
    """A training of a study. Gains are paired, $ per site and day on the episodes of tuning, by the label of whom it is compared with."""

    number: int
    values: Mapping[str, Any]  # by dotted key
    seed: int
    state: str  # complete, pruned, or failed
    value: float | None  # the objective, of those that are complete
    update: int  # of the look that counts, the best one
    gains: Mapping[str, Sequence[float | None]]  # value, low, high
    seconds: float  # of CPU time


@dataclass(frozen=True)
class Study:
    """What a study found: its trials, the best of them, the command that trains it, and that training with what it earned elsewhere."""

    folder: Path
    trials: tuple[Trial, ...]
    best: Trial
    command: str
    training: Training


class _Watched(Tuning):
    """Looks that a trial reports, and is ended by; what others earn is played once for all trials."""

    def __init__(self, trial: Any, objective: str, theirs: dict[str, Any], *args: Any) -> None:
        super().__init__(*args)
        self.trial, self.objective, self._theirs = trial, objective, theirs
        self.looks: list[Look] = []

    def look(self, policy: Policy, update: int) -> Look:
        """What ``policy`` earns. Raises ``optuna.TrialPruned`` where the trial is to end."""
        from optuna import TrialPruned

        found = super().look(policy, update)
        self.looks.append(found)
        self.trial.report(max(_figure(look, self.objective) for look in self.looks), update)
        if self.trial.should_prune():
            raise TrialPruned
        return found


def tune_configured(config: Mapping[str, Any], console: SafeConsole, words: Sequence[str]) -> Study:
    """Search as ``conf/tune.yaml`` with overrides says; ``words`` are those of the command line that the training is to repeat.

    Raises :class:`~gridpilot.errors.MissingExtraError` without Optuna or what trains, :class:`~gridpilot.errors.PolicyError` for a folder
    that cannot be written or holds another study, and whatever :func:`~gridpilot.training.run.train_configured` raises.
    """
    settings = validate(TuneConfig, config, "tune")
    plain = {key: value for key, value in config.items() if key not in _OWN}
    if settings.out is None:
        raise ConfigError("tune: out is null, expected the folder of the study: out=FOLDER")
    if settings.seeds is not None:
        raise ConfigError(
            f"tune: seeds is {settings.seeds}, expected null: trials train with `seed`, the best setting with the next one"
        )
    space = dimensions(settings.space, plain)
    folder = Path(settings.out)
    check_output(folder, PolicyError, folder=True)
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("gridpilot tune", "tune") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = _opened(folder, _identity(settings, plain))
    trials = [Trial(**one.user_attrs[_TRIAL]) for one in study.trials if _TRIAL in one.user_attrs]
    theirs: dict[str, Any] = {}
    progress = Progress("tune", console)
    with progress.of(settings.study.trials, done=len(trials), what="trials") as advance:
        while len(trials) < settings.study.trials:
            trials.append(_tried(study, settings, plain, space, len(trials), theirs))
            _write_table(folder / TABLE, trials, space)
            progress.note(_told(trials, settings.study.trials))
            advance(1)
    best = _best(trials)
    if best is None:
        raise PolicyError(
            f"tune: none of the {len(trials)} trials in {folder} came to its end, expected one: a smaller learning rate?"
        )
    fresh = settings.seed + 1
    chosen = with_values(plain, {**best.values, "seed": fresh, "out": str(folder / POLICY)})
    own = [word for word in words if word.partition("=")[0] not in {"algo", "seed", "out", *best.values}]
    found = [f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in best.values.items()]
    command = shlex.join(["gridpilot", "train", f"algo={settings.algo}", *own, *found, f"seed={fresh}", f"out={folder / POLICY}"])
    return Study(folder, tuple(trials), best, command, train_configured(chosen, console, command))


def _identity(settings: TuneConfig, plain: Mapping[str, Any]) -> dict[str, str]:
    """What must not change between one part of a study and the next, by what it is about."""
    parts: dict[str, Any] = {key: value for key, value in plain.items() if key not in _FREE}
    parts |= {"evaluation.seed": settings.evaluation.seed, "space": settings.space, "code": code_hash(*TRAINING_ROOMS)}
    parts |= {f"study.{name}": getattr(settings.study, name) for name in ("objective", "pruner", "startup")}
    return {
        name: hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:16] for name, part in sorted(parts.items())
    }


def _opened(folder: Path, identity: Mapping[str, str]) -> Any:
    """The study in ``folder``, or a new one. What was being tried when the last process ended is given up, and will be tried again."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    journal = folder / JOURNAL
    if folder.is_dir() and not journal.exists() and any(folder.iterdir()):
        raise PolicyError(f"{folder} is not empty and holds no {JOURNAL}, expected a new folder or that of an earlier study")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal))), study_name="tune", direction="maximize", load_if_exists=True
        )
        known = study.user_attrs.get("identity")
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise PolicyError(f"{journal} is no journal of a study that can be gone on from, delete it to begin anew") from error
    if known is None:
        study.set_user_attr("identity", dict(identity))
    elif known != identity:
        other = sorted(name for name in {*known, *identity} if known.get(name) != identity.get(name))
        raise PolicyError(f"{folder} holds a study of another {', '.join(other)}, expected the same settings, or a new folder")
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _tried(
    study: Any, settings: TuneConfig, plain: Mapping[str, Any], space: Sequence[Dimension], number: int, theirs: dict[str, Any]
) -> Trial:
    """Train with what Optuna suggests as trial ``number``."""
    import optuna

    wanted = settings.study
    seed = int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0])
    study.sampler = optuna.samplers.TPESampler(n_startup_trials=wanted.startup, seed=seed)
    study.pruner = {
        "median": optuna.pruners.MedianPruner(n_startup_trials=wanted.startup),
        "halving": optuna.pruners.SuccessiveHalvingPruner(min_resource=max(settings.tuning.every, 1)),
        None: optuna.pruners.NopPruner(),
    }[wanted.pruner if number >= wanted.startup else None]
    waiting = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,))
    if number == 0 and not waiting:  # the settings as they are
        usual = {one.key: one.parameter(looked_up(plain, one.key)) for one in space}
        study.enqueue_trial({key: value for key, value in usual.items() if value is not None})
    asked = study.ask()
    values = {one.key: one.suggested(asked) for one in space}
    watched: list[_Watched] = []

    def looking(*args: Any) -> Tuning:
        watched.append(_Watched(asked, wanted.objective, theirs, *args))
        return watched[0]

    unjudged = {**plain["evaluation"], "episodes": 0, "elsewhere": 0}
    config = with_values(plain, {**values, "out": None, "tensorboard": False, "evaluation": unjudged})
    begun, state = time.process_time(), "complete"
    try:
        training = train_configured(config, SafeConsole(stderr=True, quiet=True), "", looking=looking)
        if not watched[0].looks:  # of a clone, or with tuning.every=0
            watched[0].look(training.policy, 0)
    except optuna.TrialPruned:
        state = "pruned"
    except PolicyError:  # of weights that are not finite
        state = "failed"
    looks = watched[0].looks if watched else []
    best = max(looks, key=lambda look: look.bound, default=None)
    value = _figure(best, wanted.objective) if best is not None and state == "complete" else None
    gains = {label: [gain.value, gain.low, gain.high] for label, gain in best.gains.items()} if best is not None else {}
    tried = Trial(
        number, values, settings.seed, state, value, best.update if best is not None else 0, gains, time.process_time() - begun
    )
    asked.set_user_attr(_TRIAL, asdict(tried))
    if value is None:
        study.tell(asked, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(asked, value)
    return tried


def _figure(look: Look, objective: str) -> float:
    mean = list(look.gains.values())[-1].value
    return look.bound if objective == "bound" or mean is None else mean


def _best(trials: Sequence[Trial]) -> Trial | None:
    return max((one for one in trials if one.value is not None), key=lambda one: one.value or 0.0, default=None)


def _told(trials: Sequence[Trial], total: int) -> str:
    last, best = trials[-1], _best(trials)
    found = {label: gain for label, gain in last.gains.items() if gain[0] is not None}
    gains = ", ".join(f"{gain[0]:+.1f} over {label}" for label, gain in found.items())
    leads = "" if best is None else f"; the best is trial {best.number}, {best.value:+.1f}"
    return f"trial {last.number}, {len(trials)} of {total}: {last.state}, {gains or 'no look'} $ per site and day{leads}"


def _write_table(path: Path, trials: Sequence[Trial], space: Sequence[Dimension]) -> None:
    labels = list(dict.fromkeys(label for trial in trials for label in trial.gains))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys = [one.key for one in space]
    ends = [f"over {label}{end}" for label in labels for end in ("", "_low", "_high")]
    writer.writerow(["trial", "state", "objective", "seed", "update", *ends, *keys, "cpu_seconds"])
    for trial in trials:
        figures = [figure for label in labels for figure in trial.gains.get(label, [None] * 3)]
        values = [trial.values[key] for key in keys]
        writer.writerow(
            [trial.number, trial.state, trial.value, trial.seed, trial.update, *figures, *values, f"{trial.seconds:.1f}"]
        )
    write_atomically(path, text.getvalue().encode(), PolicyError)
