"""``gridpilot deploy RUN --agent NAME``: from a tournament to a folder that ``gridpilot live`` runs, if the agent is fit for it."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import hashlib
import json
import math
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml
from rich import box
from rich.table import Table
from rich.text import Text

from gridpilot.agents.seating import AgentSpec
from gridpilot.columns import console_for
from gridpilot.configuration import validate
from gridpilot.errors import FAILURES, DeploymentError
from gridpilot.file_access import is_installed, watch_files
from gridpilot.files import check_output
from gridpilot.hindsight.exploit_file import regret_check
from gridpilot.live.config import FINGERPRINT, RiskLimits
from gridpilot.live.deployment import load_deployment, remarks_on
from gridpilot.live.deployment_writer import pack_agent, write_deployment
from gridpilot.market.site import Site
from gridpilot.setup import load_preset, load_setup
from gridpilot.suggestions import did_you_mean
from gridpilot.tournament.fitness import CODES, Check, Record, check_record, evaluate, read_record
from gridpilot.tournament.inspection import play_a_tick
from gridpilot.tournament.leaderboard import money, percent, signed, spread
from gridpilot.tournament.manifest import Manifest, run_id
from gridpilot.tournament.schedule import REFERENCE

__all__ = ["main", "rehearse"]

NOTE: Final = "NOTE.txt"

_LOAD: Final = """
import sys
from pathlib import Path
from gridpilot.deploy import rehearse
from gridpilot.columns import console_for
from gridpilot.errors import GridPilotError
try:
    rehearse(Path(sys.argv[1]))
except GridPilotError as error:
    sys.exit(str(error))
"""


def main(argv: list[str]) -> int:
    """Run the command.

    Raises :class:`~gridpilot.errors.DeploymentError` for an agent that is not fit, with every reason and its code, and what reading the
    run and writing the folder raise; then nothing is written.
    """
    arguments = _parser().parse_args(argv)
    check_output(arguments.out or Path("deployments"), DeploymentError, folder=True)
    despite = _codes(arguments.despite)
    limits = _limits(arguments.risk)
    record = read_record(arguments.run, arguments.agent)
    sites = _chosen(record.seats, arguments.site)
    checks = check_record(record, limits.max_loss_per_day)
    checks.append(regret_check(arguments.run, record.manifest, record.label, arguments.max_regret_percent))
    failed = [check for check in checks if not check.passed]
    if any(check.code not in despite for check in failed):
        reasons = "; ".join(f"{check.code}: {check.found}" for check in failed if check.code not in despite)
        codes = ",".join(check.code for check in failed)
        raise DeploymentError(f"{record.label} is not deployed: {reasons}. --despite {codes} deploys it all the same")
    run = run_id(record.manifest)
    folder = arguments.out or Path("deployments") / f"{record.label}-{run}"
    evaluation, notes = evaluate(record), _notes(record)
    agent, policy = _packed(record)
    fingerprint = write_deployment(
        folder,
        {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "agent": record.label,
            "run": run,
            "source": _identity(record.manifest),
            "despite": [{"code": check.code, "found": check.found} for check in failed],
            "notes": notes,
        },
        agent=agent,
        policy=policy,
        sites=sites,
        risk=limits,
        evaluation=evaluation,
        manifest=record.manifest,
        check=lambda temporary: _load_elsewhere(temporary, folder),
    )
    unneeded = [code for code in despite if code not in {check.code for check in failed}]
    remarks = [*notes, *remarks_on(limits), *([f"--despite {','.join(unneeded)} was not needed"] if unneeded else [])]
    if arguments.json:
        made = {"folder": str(folder), "fingerprint": fingerprint, "agent": record.label, "run": run, "notes": remarks}
        content = {
            **made,
            "checks": [dataclasses.asdict(check) for check in checks],
            "next": _next(folder),
            "evaluation": evaluation,
        }
        print(json.dumps(content, indent=2, allow_nan=False))
        return 0
    console = console_for(sys.stdout)
    console.print(_table(record, checks))
    lines = [
        *_figures(record, evaluation),
        f"sites    {', '.join(site.name for site in sites)}",
        *(f"note     {remark}" for remark in remarks),
        f"folder   {folder}  read and built once in a process of its own",
        f"hash     {fingerprint}  of the whole folder",
        f"next     {_next(folder)}  decides, and sends nothing",
        f"         {_next(folder)} live=mara live.mode=live  sends",
        f"         {FINGERPRINT}={fingerprint}  behind either has any other folder refused",
    ]
    console.print(Text("\n".join(lines)), soft_wrap=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    codes = "\n".join(f"  {code:<13} {meaning}" for code, meaning in CODES.items())
    parser = argparse.ArgumentParser(
        prog="gridpilot deploy",
        description="Write a checked folder that gridpilot live runs, from an agent that has played a tournament.",
        epilog=f"codes that --despite takes:\n{codes}\n\nAn agent that is shown the future, or the others' bids, is never deployed.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a tournament, as printed at its end")
    parser.add_argument("--agent", metavar="NAME", required=True, help="label of the agent, as on the leaderboard")
    parser.add_argument("--out", metavar="DIR", type=Path, help="the new folder; by default deployments/NAME-<id of the run>")
    parser.add_argument(
        "--site", metavar="NAME", action="append", help="a site to be deployed with, again for more; by default all"
    )
    parser.add_argument("--despite", metavar="CODE[,CODE]", action="append", default=[], help="deploy though these checks fail")
    parser.add_argument(
        "--risk", metavar="KEY=VALUE", nargs="+", action="extend", default=[], help="limits, as in conf/live/base.yaml"
    )
    parser.add_argument(
        "--max-regret-percent",
        metavar="X",
        type=_percentage,
        help="refuse an agent whose hindsight regret, the upper end of what gridpilot exploit measured, is above X %% of the optimum",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _percentage(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} given, expected a number >= 0")
    return value


def _codes(given: Sequence[str]) -> list[str]:
    codes = [code.strip() for text in given for code in text.split(",")]
    for code in codes:
        if code not in CODES:
            hint = did_you_mean(code, CODES) or f"expected one of {', '.join(CODES)}"
            raise DeploymentError(f"--despite {code}: there is no such code; {hint}")
    return codes


def _limits(overrides: Sequence[str]) -> RiskLimits:
    limits: dict[str, Any] = copy.deepcopy(load_preset("live", "base")["risk"])
    for text in overrides:
        key, given, value = text.partition("=")
        *path, last = key.split(".")
        place: Any = limits
        for part in path:
            place = place.get(part) if isinstance(place, dict) else None
        if not given or not isinstance(place, dict):
            raise DeploymentError(
                f"--risk {text}: expected KEY=VALUE, where KEY is one of {', '.join(limits)}, or like energy.high"
            )
        try:
            place[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise DeploymentError(f"--risk {text}: {value!r} is no value") from error
    return validate(RiskLimits, limits, "--risk")


def _chosen(seats: tuple[Site, ...], names: Sequence[str] | None) -> tuple[Site, ...]:
    known = {site.name: site for site in seats}
    for name in names or ():
        if name not in known:
            hint = did_you_mean(name, known) or f"the sites are {', '.join(known)}"
            raise DeploymentError(f"--site {name}: there was none; {hint}")
    return tuple(known[name] for name in dict.fromkeys(names)) if names else seats


def _packed(record: Record) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The agent as it is deployed, and the contents of its files by their names below ``policy``."""
    agent, data = pack_agent(record.target, record.params, record.files.data)
    beside = {**record.files.code, **record.files.opened}
    for name, path in record.files.opened.items():
        if Path(name).is_absolute():
            raise DeploymentError(
                f"{record.label} reads {path}, which lies outside of {record.files.root} and is named by none of its parameters: a "
                "deployment cannot hold it; name it by a parameter, or lay it beside the code"
            )
    both = sorted({*beside, NOTE} & data.keys())
    if both:
        raise DeploymentError(
            f"{record.label}: {both[0]} is the name of a file of its code and of one of its parameters; rename one"
        )
    contents = {name: path.read_bytes() for name, path in {**beside, **data}.items()}
    return agent, {**contents, NOTE: _note(record, list(contents)).encode()}


def _note(record: Record, names: list[str]) -> str:
    who = f"{record.label} ({record.target})"
    if names:
        listed = "".join(f"  {name}\n" for name in names)
        return f"The files of {who}, as they were when it was deployed. This folder goes first on sys.path.\n{listed}"
    if record.source is not None and is_installed(record.source):
        return f"Nothing had to be copied: {who} is in an installed package, which has to be installed wherever this is run.\n"
    return f"Nothing had to be copied: {who} is an agent of gridpilot, and its parameters name no files.\n"


def _identity(manifest: Manifest) -> dict[str, Any]:
    config = json.dumps(manifest["config"], sort_keys=True)
    return {
        "name": manifest["config"]["name"],
        "created": manifest["created"],
        "config": hashlib.sha256(config.encode()).hexdigest(),
        **{key: manifest[key] for key in ("seed", "code", "git", "versions", "platform")},
    }


def _notes(record: Record) -> list[str]:
    notes = []
    if record.summary.in_winner_set is False:
        winners = ", ".join(agent.agent for agent in record.board.agents if agent.in_winner_set)
        notes.append(f"{record.label} is not in the winner set, which is {winners}")
    if record.manifest["config"]["purpose"] != "evaluation":
        notes.append(f"judged on {record.manifest['config']['purpose']} episodes, which it may have been tuned on")
    return notes


def _load_elsewhere(folder: Path, name: Path) -> None:
    """Load the folder as whoever runs it will: in a fresh process, in another working directory, which is empty."""
    command = [sys.executable, "-P", "-B", "-c", _LOAD, str(folder.absolute())]
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(command, cwd=empty, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise DeploymentError(f"it does not run on its own: {last.replace(str(folder.absolute()), str(name))}")


def rehearse(folder: Path) -> None:
    """Load a deployment and let its agent play a tick at the deployed sites, reading nothing of the user's but what the folder holds.

    Raises :class:`~gridpilot.errors.DeploymentError` for an agent that cannot be built, reads another file, or fails where it has not
    failed before.
    """
    with watch_files() as read:
        deployment = load_deployment(folder)
        market = {
            **deployment.manifest["config"]["market"],
            "sites": yaml.safe_load((folder / "site.yaml").read_text(encoding="utf-8")),
        }
        error = play_a_tick(load_setup(market), AgentSpec(deployment.agent["target"], deployment.agent["params"]))
    others = [path for path in read.paths if not path.is_relative_to(folder.absolute())]
    if others:
        raise DeploymentError(
            f"{deployment.label} reads {others[0]}, which is no part of the deployment; name it by a parameter, or open it relative to "
            "the file of its code"
        )
    if error and not {override.code for override in deployment.record.despite} & set(FAILURES):
        raise DeploymentError(f"{deployment.label} fails at once: {error}")


# What is said.


def _next(folder: Path) -> str:
    return f"gridpilot live {shlex.quote(f'deployment={folder}')}"


def _table(record: Record, checks: Sequence[Check]) -> Table:
    board = record.board
    title = f"{record.label}: {board.episodes} episodes of {board.ticks} ticks, {board.seats} seats, run {run_id(record.manifest)}"
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title, title_justify="left", header_style="bold"
    )
    for head in ("check", "", "found"):
        table.add_column(head)
    for check in checks:
        verdict = Text("ok", style="green") if check.passed else Text("despite", style="bold red")
        table.add_row(check.code, verdict, Text(check.found))
    return table


def _figures(record: Record, evaluation: Mapping[str, Any]) -> list[str]:
    summary, worst, site = record.summary, evaluation["worst_episode"], evaluation["worst_site"]
    gains = [
        (summary.gain_percent, percent, f"% over {REFERENCE}"),
        (summary.alone_percent, percent, "% alone among such"),
        (summary.capture_percent, percent, f"% of {record.board.yardstick}'s gain"),
    ]
    if summary.gain_percent.value is None:  # a percentage of nothing, or of a loss
        gains[:2] = [(summary.gain, signed, f"$ over {REFERENCE}"), (summary.alone_gain, signed, "$ alone among such")]
    told = [f"{spread(estimate, form)} {what}" for estimate, form, what in gains if estimate.value is not None]
    rank = f"rank {summary.rank} of {len(record.board.agents)}" + (", in the winner set" if summary.in_winner_set else "")
    return [
        f"profit   {spread(summary.profit, money)} $ per site and day, {rank}",
        *([f"gain     {'; '.join(told)}"] if told and record.label != REFERENCE else []),
        f"worst    {money(worst['profit'])} $ in episode {worst['episode']}, {money(site['profit'])} $ at site {site['site']}; "
        f"CVaR of 5 % {money(summary.cvar)} $",
    ]
