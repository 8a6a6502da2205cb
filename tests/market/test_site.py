"""Plants: what can be built, and how they are laid out for the kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gridpilot.errors import SiteError
from gridpilot.market.site import Battery, Cooling, MachineClass, Site, pack_sites

MACHINES = {"name": "air", "product": "hash", "unit_kw": 3.5, "units": 10, "output": 0.2}


@pytest.mark.parametrize(
    ("build", "change", "message"),
    [
        (MachineClass, {"product": "heat"}, "machine class 'air': product is 'heat', expected one of"),
        (MachineClass, {"unit_kw": 0.0}, "unit_kw is 0.0, expected above 0"),
        (MachineClass, {"unit_kw": -3.5}, "unit_kw is -3.5"),
        (MachineClass, {"unit_kw": math.nan}, "unit_kw is nan, expected a finite number"),
        (MachineClass, {"unit_kw": "3.5"}, "unit_kw is '3.5'"),
        (MachineClass, {"unit_kw": True}, "unit_kw is True"),
        (MachineClass, {"units": -1}, "units is -1"),
        (MachineClass, {"units": 2.5}, "units is 2.5, expected a whole number"),
        (MachineClass, {"output": -0.1}, "output is -0.1"),
        (MachineClass, {"output": math.inf}, "output is inf"),
        (Battery, {"power_kw": -1.0}, "battery: power_kw is -1.0"),
        (Battery, {"energy_kwh": math.nan}, "battery: energy_kwh is nan"),
        (Battery, {"charge_efficiency": 0.0}, "charge_efficiency is 0.0, expected above 0"),
        (Battery, {"discharge_efficiency": 1.01}, "discharge_efficiency is 1.01.* at most 1"),
        (Battery, {"wear_cost": -0.01}, "wear_cost is -0.01"),
        (Battery, {"soc_min": 0.5, "soc_max": 0.4}, "expected soc_min 0.5 <= soc_start <= soc_max 0.4"),
        (Battery, {"soc_start": 0.99}, "soc_start is 0.99"),
        (Battery, {"soc_max": 1.1}, "soc_max is 1.1"),
        (Cooling, {"max_kw": -1.0}, "cooling: max_kw is -1.0"),
        (Cooling, {"cop": 0.0}, "cop is 0.0, expected above 0"),
        (Cooling, {"capacity_kwh_per_c": 0.0}, "capacity_kwh_per_c is 0.0"),
        (Cooling, {"capacity_kwh_per_c": 0.5, "loss_kw_per_c": 8.0}, "capacity_kwh_per_c is 0.5, expected at least"),
        (Cooling, {"set_point_c": math.nan}, "set_point_c is nan"),
        (Site, {"grid_kw": -1.0}, "site 'plant': grid_kw is -1.0"),
        (Site, {"ramp_up_kw": math.inf}, "ramp_up_kw is inf"),
        (Site, {"boot_loss": 1.5}, "boot_loss is 1.5"),
    ],
)
def test_plants_that_cannot_exist_are_refused(build: Any, change: dict[str, Any], message: str) -> None:
    base: dict[str, Any] = {MachineClass: MACHINES, Site: {"name": "plant", "fleet": ()}}.get(build, {})
    build(**base)
    with pytest.raises(SiteError, match=message):
        build(**(base | change))


def test_a_fleet_adds_up() -> None:
    site = Site("plant", (MachineClass(**MACHINES), MachineClass("gpu", "token", 10.0, 3, 2.0)))  # type: ignore[arg-type]
    assert site.fleet_kw == 65.0
    assert site.rated_value(5.0, 7.0) == pytest.approx(10 * 0.2 * 5.0 + 3 * 2.0 * 7.0)


def test_sites_are_laid_out_as_padded_arrays() -> None:
    first = Site("first", (MachineClass(**MACHINES),), battery=Battery(100.0, 400.0, soc_min=0.1, soc_max=0.9, soc_start=0.5))  # type: ignore[arg-type]
    second = Site("second", (MachineClass("gpu", "token", 10.0, 3, 2.0), MachineClass(**MACHINES)), grid_kw=7.0)  # type: ignore[arg-type]
    arrays = pack_sites([first, second])
    assert (arrays.n_sites, arrays.n_classes, arrays.n_blocks) == (2, 2, 7)
    np.testing.assert_array_equal(arrays.class_kw, [[35.0, 0.0], [30.0, 35.0]])
    np.testing.assert_allclose(arrays.output, [[0.2 / 3.5, 0.0], [0.2, 0.2 / 3.5]])
    assert arrays.product.tolist() == [[1, 1], [2, 1]]
    assert arrays.plant["n_classes"].tolist() == [1, 2]
    assert arrays.plant["grid_kw"].tolist() == [1000.0, 7.0]
    assert arrays.plant[["soc_min", "soc_max", "soc_start"]][0].tolist() == (40.0, 360.0, 200.0)
    assert pack_sites([Site("bare", ())], n_classes=3).class_kw.shape == (1, 3)
    with pytest.raises(SiteError, match="at least one site"):
        pack_sites([])
