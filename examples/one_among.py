"""What one bidder earns among ten sites that all bid in the same way, against mpc in its place: the figures of docs/strategy.md.

    python examples/one_among.py uniform mpc 100 10 best_response

plays the same 100 days with each bidder in turn at each of ten seats, all others being mpc, under a uniform price. Days are of the
evaluation range, which nothing is tuned on; a difference is of the same seats of the same day; intervals are Student's t over days.
"""

import sys

import numpy as np

import gridpilot
from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.market.physics import PROFIT
from gridpilot.tournament.intervals import mean
from gridpilot.tournament.tally import stored_value

FIRST, AT_ONCE = 1_000_000, 10  # the first day of the evaluation range, and days side by side


def earned(setup: gridpilot.MarketSetup, bidder: str, rivals: str, days: np.ndarray, seats: int) -> np.ndarray:
    """What the bidder earns by day, $ a site: the mean over so many seats, each in a market of its own."""
    n = len(setup.sites)
    own = (days[:, None] * seats + np.arange(seats)).ravel() % n  # with fewer seats than sites they go round by day
    episodes = np.repeat(days, seats)
    arena = setup.arena(len(episodes))
    arena.start(setup.scenario(0, episodes))
    labels = [["it" if seat == mine else "other" for seat in range(n)] for mine in own]
    seating = Seating(arena, {"it": AgentSpec(bidder, {}), "other": AgentSpec(rivals, {})}, labels)
    seating.reset(0, episodes)
    profit = np.zeros((len(episodes), n))
    while not arena.done:
        seating.bid()
        arena.step()
        seating.learn()
        profit += arena.outcome[:, :, PROFIT]
    profit += stored_value(arena)
    if seating.first_error:
        raise SystemExit(f"{bidder} failed: {next(iter(seating.first_error.values()))}")
    return profit[np.arange(len(own)), own].reshape(len(days), seats).mean(axis=1)


def main(mechanism: str, rivals: str, days: int, seats: int, *bidders: str) -> None:
    """Print a line a bidder."""
    setup = gridpilot.load_setup(mechanism=mechanism)
    parts = [np.arange(FIRST + d, FIRST + min(d + AT_ONCE, days)) for d in range(0, days, AT_ONCE)]
    print(f"{mechanism}, one among {rivals}, {days} days, {seats} seats: $ per site and day, and more than mpc in its place [95 %]")
    usual = None
    for name in ("mpc", *bidders):
        profit = np.concatenate([earned(setup, name, rivals, part, seats) for part in parts])
        usual = profit if usual is None else usual
        more = mean(profit - usual)
        interval = "" if more.low is None else f" [{more.low:.2f}, {more.high:.2f}]"
        print(f"{name:16} {profit.mean():9.1f} {more.value:+9.2f}{interval}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])
