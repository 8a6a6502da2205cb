"""Writing a calibrated price as a complete ``conf/prices`` file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from gridpilot.market.units import CHANNELS
from gridpilot.prices.calibrate import Calibration
from gridpilot.prices.calibrate_table import Comparison

__all__ = ["rounded", "yaml_text"]


def rounded(value: Any, digits: int = 6) -> Any:
    """``value`` with every float in it cut to ``digits`` significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, Mapping):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    return value


def yaml_text(calibration: Calibration, others: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """The text of a complete price file: the calibrated price, the other two from ``others``, and what is known of the fit."""
    target = calibration.target
    part = rounded(calibration.part, 8)
    config: dict[str, Any] = {"name": others["name"]}
    for name in CHANNELS:
        config[name] = part if name == target else {"dynamics": others.get("dynamics", "garch_t"), **others[name]}
    if "correlation" in others:
        config["correlation"] = others["correlation"]
    comparison = rounded(_table(calibration.comparison), 4)
    config["calibration"] = {**about, "notes": list(calibration.fit.notes), "comparison": comparison}
    verdict = (
        "good" if calibration.good else f"NOT GOOD: simulated and real disagree in {', '.join(calibration.comparison.disagreeing)}"
    )
    head = [
        f"# The {target} price was calibrated on {about['source']}, {about['period']}:",
        f"#   {about['command']}",
        f"# The fit is {verdict}. The other two prices are those of the preset {about['others']!r}.",
        "# Times are ticks of five minutes; energy $/kWh, hash $ per PH/s h, token $ per million tokens.",
    ]
    body: str = yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
    return "\n".join(head) + "\n" + body


def _table(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "statistic": row.name,
            "real": row.real,
            "simulated": row.simulated,
            "agrees": row.agrees,
            **({"why": row.reason} if row.reason else {}),
        }
        for row in comparison.rows
    ]
