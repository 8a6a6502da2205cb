"""Pictures of a market in play: a block of text, or a small plot of prices, power and state of charge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import ConfigError
from gridpilot.market.arena import Arena
from gridpilot.market.physics import CHARGED, COOLING, DISCHARGED, MACHINES, N_OUTCOME, PROFIT, WON
from gridpilot.market.units import DT, TICKS_PER_DAY, TICKS_PER_WEEK

__all__ = ["RENDER_MODES", "Renderer", "Trace", "check_render_mode"]

RENDER_MODES: Final = ("ansi", "rgb_array")
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_BAR: Final = 24  # characters of the state-of-charge bar
_ENERGY, _CLEARED = "#6b7280", "#c2410c"
_POWER: Final = {"machines": "#1d4ed8", "cooling": "#67c7e2", "charging": "#16a34a", "discharging": "#f59e0b"}


def check_render_mode(mode: str | None) -> str | None:
    """``mode`` itself. Raises :class:`~gridpilot.errors.ConfigError` where it is unknown."""
    if mode is not None and mode not in RENDER_MODES:
        raise ConfigError(f"env: render_mode is {mode!r}, expected one of {', '.join(RENDER_MODES)} or None")
    return mode


class Trace:
    """What happened so far to some seats of one market, summed over them."""

    def __init__(self, arena: Arena, market: int, seats: Sequence[int]) -> None:
        self.arena, self.market, self.seats = arena, market, list(seats)
        self.names = [arena.sites[seat].name for seat in self.seats]
        plant = arena.arrays.plant[self.seats]
        self.soc_limits = float(plant["soc_min"].sum()), float(plant["soc_max"].sum())  # kWh

    def start(self) -> None:
        """Forget the last episode; call it after the arena has started."""
        self.outcome = np.zeros((self.arena.scenario.ticks, N_OUTCOME))
        self.soc = np.full(self.arena.scenario.ticks + 1, np.nan)  # kWh, before each tick
        self.soc[0] = self._stored()

    def record(self) -> None:
        """Take down the tick just played."""
        tick = self.arena.tick
        self.outcome[tick - 1] = self.arena.outcome[self.market, self.seats].sum(axis=0)
        self.soc[tick] = self._stored()

    def _stored(self) -> float:
        return float(self.arena.storage[self.market, self.seats, 0].sum())

    @property
    def title(self) -> str:
        """Site, tick and time."""
        scenario, tick = self.arena.scenario, self.arena.tick
        week = (int(scenario.start[self.market]) + tick) % TICKS_PER_WEEK
        minutes = round(week % TICKS_PER_DAY * DT * 60)
        who = self.names[0] if len(self.names) == 1 else f"{len(self.names)} sites"
        return f"{who}, {_DAYS[week // TICKS_PER_DAY]} {minutes // 60:02d}:{minutes % 60:02d}, tick {tick} of {scenario.ticks}"

    @property
    def charge(self) -> float:
        """State of charge now, 0 empty to 1 full of the usable range; 0 without a battery."""
        low, high = self.soc_limits
        return (float(self.soc[self.arena.tick]) - low) / (high - low) if high > low else 0.0


class Renderer:
    """Draws traces. The figure is made when first needed, reused for every frame, and left behind when pickled."""

    def __init__(self) -> None:
        self._plot: _Plot | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_plot": None}

    def frame(self, trace: Trace, mode: str) -> Any:
        """A string in mode "ansi", a ``(360, 640, 3)`` uint8 picture in mode "rgb_array"."""
        if mode == "ansi":
            return _text(trace)
        if self._plot is None:
            self._plot = _Plot()
        return self._plot.draw(trace)

    def close(self) -> None:
        """Release the figure."""
        self._plot = None


def _text(trace: Trace) -> str:
    arena, b = trace.arena, trace.market
    scenario, tick = arena.scenario, arena.tick
    row = scenario.history + min(tick, scenario.ticks - 1)
    low, high = trace.soc_limits
    filled = round(_BAR * trace.charge)
    lines = [
        trace.title,
        f"  energy   {scenario.prices[row, b, 0]:9.4f} $/kWh   capacity {scenario.capacity[row, b] * arena.rules.capacity_kw:8.0f} kW",
    ]
    if tick:
        last = trace.outcome[tick - 1]
        charge = last[CHARGED] - last[DISCHARGED]
        lines += [
            f"  cleared  {arena.last_price[b]:9.4f} $/kWh   won      {last[WON]:8.0f} kW",
            f"  machines {last[MACHINES]:9.0f} kW      cooling  {last[COOLING]:8.0f} kW   charge {charge:+6.0f} kW",
        ]
    lines += [
        f"  battery  [{'#' * filled}{'.' * (_BAR - filled)}] {trace.soc[tick]:.0f} of {low:.0f} to {high:.0f} kWh",
        f"  profit   {trace.outcome[tick - 1, PROFIT] if tick else 0.0:9.2f} $       so far   {trace.outcome[:tick, PROFIT].sum():8.2f} $",
    ]
    return "\n".join(lines)


class _Plot:
    """Three panels over the hours of the episode. The artists stay; every frame gives them new data."""

    def __init__(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        self.figure = Figure(figsize=(6.4, 3.6), dpi=100, facecolor="white")
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes = self.figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": (4, 4, 3)})
        self.figure.subplots_adjust(left=0.1, right=0.975, top=0.92, bottom=0.105, hspace=0.22)
        self.title = self.figure.text(0.1, 0.945, "", fontsize=9, fontweight="bold", color="#111827")
        self.profit = self.figure.text(0.975, 0.945, "", fontsize=9, ha="right", color="#111827")
        for axes, label in zip(self.axes, ("$/kWh", "kW", "% charged"), strict=True):
            axes.set_ylabel(label, fontsize=7.5, color="#374151")
            axes.tick_params(labelsize=7, colors="#374151", length=2)
            axes.grid(axis="y", color="#e5e7eb", linewidth=0.6)
            axes.set_axisbelow(True)
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
            for side in ("left", "bottom"):
                axes.spines[side].set_color("#9ca3af")
        self.axes[2].set_xlabel("hours of the episode", fontsize=7.5, color="#374151", labelpad=1)
        self.axes[2].set_ylim(0, 100)
        self.axes[2].xaxis.set_major_locator(MaxNLocator(nbins=9, steps=[1, 2, 2.4, 3, 6, 10]))
        prices, power, battery = self.axes
        self.premium = prices.stairs([0.0], [0.0, 1.0], baseline=0.0, fill=True, color=_CLEARED, alpha=0.18)
        self.cleared = prices.stairs([0.0], [0.0, 1.0], baseline=None, color=_CLEARED, linewidth=1.1, label="clearing price")
        self.energy = prices.stairs([0.0], [0.0, 1.0], baseline=None, color=_ENERGY, linewidth=1.1, label="energy price")
        self.power = {
            name: power.stairs([0.0], [0.0, 1.0], baseline=0.0, fill=True, color=color, label=name)
            for name, color in _POWER.items()
        }
        power.axhline(0.0, color="#9ca3af", linewidth=0.6)
        self.won = power.stairs([0.0], [0.0, 1.0], baseline=None, color="#111827", linewidth=0.8, label="won")
        self.soc = battery.fill_between([0.0], [0.0], color=_POWER["charging"], alpha=0.35, linewidth=0.0)
        (self.soc_line,) = battery.plot([], [], color=_POWER["charging"], linewidth=1.2)
        for axes in (prices, power):
            axes.legend(loc="upper left", ncols=5, fontsize=6.5, frameon=False, borderpad=0.1, handlelength=1.2, columnspacing=1.0)

    def draw(self, trace: Trace) -> npt.NDArray[np.uint8]:
        """The trace so far."""
        arena, b = trace.arena, trace.market
        scenario, n = arena.scenario, arena.tick
        shown = max(n, 1)
        hours = np.arange(shown + 1) * DT
        energy = scenario.prices[scenario.history : scenario.history + shown, b, 0]
        cleared = arena.cleared[:shown, b, 0] if n else energy
        self.energy.set_data(energy, hours)
        self.cleared.set_data(cleared, hours)
        self.premium.set_data(cleared, hours, energy)
        rows = trace.outcome[:shown]
        machines, cooling, charged = rows[:, MACHINES], rows[:, COOLING], rows[:, CHARGED]
        self.power["machines"].set_data(machines, hours, 0.0)
        self.power["cooling"].set_data(machines + cooling, hours, machines)
        self.power["charging"].set_data(machines + cooling + charged, hours, machines + cooling)
        self.power["discharging"].set_data(-rows[:, DISCHARGED], hours, 0.0)
        self.won.set_data(rows[:, WON], hours)
        low, high = trace.soc_limits
        percent = 100.0 * (trace.soc[: n + 1] - low) / max(high - low, 1e-9)
        self.soc_line.set_data(hours[: n + 1], percent)
        self.soc.set_data(hours[: n + 1], np.zeros(n + 1), percent)
        self._limits(energy, cleared, rows, scenario.ticks * DT)
        self.title.set_text(trace.title)
        self.profit.set_text(f"profit {trace.outcome[:n, PROFIT].sum():,.2f} $")
        self.canvas.draw()  # type: ignore[no-untyped-call]
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]

    def _limits(self, energy: Any, cleared: Any, rows: Any, hours: float) -> None:
        low, high = min(energy.min(), cleared.min(), 0.0), max(energy.max(), cleared.max(), 0.01)
        self.axes[0].set_ylim(low - 0.05 * (high - low), high + 0.35 * (high - low))  # room for the legend
        most = max(float((rows[:, MACHINES] + rows[:, COOLING] + rows[:, CHARGED]).max()), float(rows[:, WON].max()), 1.0)
        least = -float(rows[:, DISCHARGED].max())
        self.axes[1].set_ylim(least - 0.05 * (most - least), most + 0.35 * (most - least))
        self.axes[2].set_xlim(0.0, hours)
