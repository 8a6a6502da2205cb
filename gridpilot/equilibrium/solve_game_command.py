"""``gridpilot solve-game``: solve one game or an array of them from a JSON file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from gridpilot.equilibrium.alpha_rank import alpha_rank_multi, alpha_rank_single
from gridpilot.equilibrium.demand_function import equilibrium_slopes
from gridpilot.equilibrium.deviation_ratings import deviation_ratings, symmetric_deviation_ratings
from gridpilot.equilibrium.matrix_games import nashconv, nashconv_of_uniform, solve_zero_sum, support_enumeration
from gridpilot.equilibrium.populations import moran_fixation, pairwise_fixation, replicator
from gridpilot.errors import GameError
from gridpilot.market.json_input import answer_file, check_numbers
from gridpilot.suggestions import did_you_mean, expected_one_of

__all__ = ["KINDS", "main", "solve_document"]

DESCRIPTION: Final = """\
Solve one game, or every game of an array, and print the solutions as JSON.

A game is a JSON object {"kind": ..., "input": {...}}; other keys beside the two, such as a name, are left alone. The solution has the
kind and the keys after the arrow. A payoff table has a list of numbers for every strategy of the player it belongs to, one entry for
each strategy of the other.

  zero_sum           {payoff}  -> value, row, column
                     payoff: what the row player gets and the column player loses; up to 1,000,000 entries
  bimatrix           {row, column}  -> equilibria, nashconv_of_uniform
                     both tables [row's strategy][column's strategy]. equilibria: all extreme ones, each a pair of probabilities of rows
                     and of columns, fewest strategies first; of a degenerate game the others are mixtures of these. Up to 10 x 10, and
                     lopsided ones up to 20 strategies with as many choices of supports
  nashconv           {payoff, profile}  -> nashconv
                     payoff: a table for every player, with a level of lists for every player; profile: a list of probabilities each
  replicator         {payoff, x0}  -> interior_fixed_point, stability, x_at_3
                     interior_fixed_point: shares, or null where there is no single one; stability: stable, unstable, centre or null
  moran              {process: "moran", relative_fitness, population}  -> fixation
                     {process: "pairwise", payoff, beta, population}  -> fixation
                     chance that one mutant takes over. pairwise: Fermi rule of intensity beta; payoff 2 x 2, the mutant's strategy first
  alpha_rank         {population: "single" or "multi", payoff, alpha, m}  -> stationary
                     single: payoff a square table (or a list with that table alone), stationary one share a strategy; multi: a list of
                     tables, one a population, stationary one share a combination of strategies, the last population's varying fastest.
                     Up to 1000 shares
  demand_function    {l, beta}  -> slope
                     x_i = b_i (a_i - p), marginal value a_i - l_i x, beta the slope of supply; zeros where there is no equilibrium
  deviation_ratings  {payoff}  -> ratings          {row, column}  -> row_ratings, column_ratings
                     payoff: a symmetric game by pairs, what the row's strategy earns among the column's"""

NAMED: Final = "an object with the keys kind and input"


class Kind(NamedTuple):
    """How a kind of game is solved: by the first of the forms whose keys are all there."""

    forms: tuple[tuple[tuple[str, ...], Callable[[Mapping[str, Any]], dict[str, Any]]], ...]


def main(argv: Sequence[str]) -> int:
    """Run the command. Raises :class:`~gridpilot.errors.GameError` for input that is no game, naming where and what is wrong."""
    parser = argparse.ArgumentParser(
        "gridpilot solve-game", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", metavar="FILE", help='JSON file with a game or an array of games; "-" reads standard input')
    options = parser.parse_args(argv)
    answer_file(options.file, lambda game, where: solve_document(game, where=where), "a game", GameError)
    return 0


def solve_document(document: Any, *, where: str = "game") -> dict[str, Any]:
    """The solution of one game given in JSON's types, in JSON's types.

    Raises :class:`~gridpilot.errors.GameError`, whose message begins with ``where`` and names the key, its value and what was expected.
    """
    try:
        name, given = _checked(document)
        return {"kind": name} | _form(name, given)(given)
    except GameError as error:
        raise GameError(f"{where}: {error}") from error


def _checked(document: Any) -> tuple[str, dict[str, Any]]:
    """Kind and input, with all its numbers as floats."""
    if not isinstance(document, Mapping):
        raise GameError(f"is {document!r:.60}, expected {NAMED}")
    for key in ("kind", "input"):
        if key not in document:
            raise GameError(f"key {key!r} is missing, expected {NAMED}")
    name, given = document["kind"], document["input"]
    if not (isinstance(name, str) and name in KINDS):
        raise GameError(f"kind is {name!r:.60}; {did_you_mean(name, KINDS) or expected_one_of(KINDS)}")
    if not isinstance(given, Mapping):
        raise GameError(f"input is {given!r:.60}, expected an object with the keys {', '.join(KINDS[name].forms[0][0])}")
    check_numbers(given, "input", GameError)
    return name, dict(given)


def _form(name: str, given: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """What solves an input with these keys, neither fewer nor more."""
    forms = KINDS[name].forms
    keys, solve = max(forms, key=lambda form: len(given.keys() & set(form[0])))
    expected = " or ".join("{" + ", ".join(form) + "}" for form, _ in forms)
    for key in keys:
        if given.get(key) is None:
            raise GameError(f"input of {name}: key {key!r} is {'null' if key in given else 'missing'}, expected {expected}")
    for key in given:
        if key not in keys:
            raise GameError(f"input of {name}: unknown key {key!r:.60} (its value is {given[key]!r:.60}), expected {expected}")
    return solve


def _table(given: Mapping[str, Any], key: str) -> Any:
    """A list of numbers, or of such lists to any depth, as floats; numpy would read "5" and true as numbers."""

    def converted(value: Any, place: str, outermost: bool) -> Any:
        if isinstance(value, list):
            return [converted(entry, f"{place}[{i}]", False) for i, entry in enumerate(value)]
        if outermost:
            raise GameError(f"{place} is {value!r:.60}, expected a list")
        if type(value) is float or type(value) is int:
            return float(value)
        raise GameError(f"{place} is {value!r:.60}, expected a number")

    return converted(given[key], key, True)


def _tables(given: Mapping[str, Any], key: str) -> list[Any]:
    tables = _table(given, key)
    for k, table in enumerate(tables):
        if not isinstance(table, list):
            raise GameError(f"{key}[{k}] is {table!r:.60}, expected a table")
    return list(tables)


def _choice(given: Mapping[str, Any], key: str, choices: Sequence[str]) -> str:
    value = given[key]
    if value not in choices:
        raise GameError(f"{key} is {value!r:.60}, {expected_one_of(choices)}")
    return str(value)


def _zero_sum(given: Mapping[str, Any]) -> dict[str, Any]:
    solution = solve_zero_sum(_table(given, "payoff"))
    return {"value": solution.value, "row": solution.row.tolist(), "column": solution.column.tolist()}


def _bimatrix(given: Mapping[str, Any]) -> dict[str, Any]:
    row, column = _table(given, "row"), _table(given, "column")
    equilibria = support_enumeration(row, column)
    return {
        "equilibria": [[x.tolist(), y.tolist()] for x, y in equilibria],
        "nashconv_of_uniform": nashconv_of_uniform(row, column),
    }


def _nashconv(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"nashconv": nashconv(_tables(given, "payoff"), _tables(given, "profile"))}


def _replicator(given: Mapping[str, Any]) -> dict[str, Any]:
    solution = replicator(_table(given, "payoff"), _table(given, "x0"), 3.0)
    point = solution.interior_fixed_point
    return {
        "interior_fixed_point": None if point is None else point.tolist(),
        "stability": solution.stability,
        "x_at_3": solution.state.tolist(),
    }


def _moran(given: Mapping[str, Any]) -> dict[str, Any]:
    _choice(given, "process", ["moran"])
    return {"fixation": moran_fixation(given["relative_fitness"], given["population"])}


def _pairwise(given: Mapping[str, Any]) -> dict[str, Any]:
    _choice(given, "process", ["pairwise"])
    return {"fixation": pairwise_fixation(_table(given, "payoff"), given["beta"], given["population"])}


def _alpha_rank(given: Mapping[str, Any]) -> dict[str, Any]:
    if _choice(given, "population", ["single", "multi"]) == "multi":
        return {"stationary": alpha_rank_multi(_tables(given, "payoff"), given["alpha"], given["m"]).tolist()}
    payoff = _table(given, "payoff")
    if len(payoff) == 1 and isinstance(payoff[0], list) and payoff[0] and isinstance(payoff[0][0], list):
        payoff = payoff[0]
    return {"stationary": alpha_rank_single(payoff, given["alpha"], given["m"]).tolist()}


def _demand_function(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"slope": equilibrium_slopes(_table(given, "l"), given["beta"]).tolist()}


def _symmetric_ratings(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"ratings": symmetric_deviation_ratings(_table(given, "payoff")).tolist()}


def _bimatrix_ratings(given: Mapping[str, Any]) -> dict[str, Any]:
    row, column = deviation_ratings(_table(given, "row"), _table(given, "column"))
    return {"row_ratings": row.tolist(), "column_ratings": column.tolist()}


KINDS: Final[dict[str, Kind]] = {
    "zero_sum": Kind(((("payoff",), _zero_sum),)),
    "bimatrix": Kind(((("row", "column"), _bimatrix),)),
    "nashconv": Kind(((("payoff", "profile"), _nashconv),)),
    "replicator": Kind(((("payoff", "x0"), _replicator),)),
    "moran": Kind(
        (
            (("process", "relative_fitness", "population"), _moran),
            (("process", "payoff", "beta", "population"), _pairwise),
        )
    ),
    "alpha_rank": Kind(((("population", "payoff", "alpha", "m"), _alpha_rank),)),
    "demand_function": Kind(((("l", "beta"), _demand_function),)),
    "deviation_ratings": Kind(((("payoff",), _symmetric_ratings), (("row", "column"), _bimatrix_ratings))),
}
