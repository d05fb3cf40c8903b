"""Absorbed, reflected and transmitted light of an open forest, plain and clumped.

The open-forest canopies of RAMI4PILPS: spheres full of leaves over soils from black to snow, red
and near infrared, three sun angles. What is stated there is nothing that a model here was fitted
to: leaf and soil spectra and the leaf area index; the leaves point in all directions alike. Crowns
hold a leaf area index of 5, so that they cover a fifth of the stand's leaf area index (Widlowski et
al., 2011, Journal of Geophysical Research 116, G02019, doi:10.1029/2010JG001511).

- ``4SAIL`` has the leaf area at random;
- ``effective leaf area`` is 4SAIL with the gap fractions of the crowns;
- ``crowns`` lets light return to its own crown besides (`physfuse.radiative.clumping`).

Needs the real data::

    python -m benchmarks.science.rami4pilps
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.science.record import Record, data_folder, parser
from physfuse.radiative.clumping import clumped_energy, crown_canopy
from physfuse.radiative.directions import canopy_geometry
from physfuse.radiative.leaf_angle import campbell
from physfuse.radiative.sail import CanopyEnergy, canopy_energy

LEAVES = {"Red": (0.0735, 0.0566), "NIR": (0.3912, 0.4146)}
SOILS = {"Red": (0.0, 0.122, 0.964), "NIR": (0.0, 0.214, 0.557)}
BACKGROUNDS = ("BLK", "MED", "SNW")
CROWN_LAI = 5.0
SUN = (27, 60, 83)
FLUXES = {"abs": "absorbed_direct", "ref": "reflected_direct", "tran": "downward_direct"}
SPHERICAL = 58.4351034
MODELS = ("4SAIL", "effective leaf area", "crowns")


class Case(NamedTuple):
    """One line of the reference.

    Attributes
    ----------
    quantity, band, background : str
        What it is, where, and over what.
    lai : float
        Leaf area index of the stand. [m2 m-2]
    values : tuple of float
        Fractions of the incoming light at the three sun angles. [1]
    """

    quantity: str
    band: str
    background: str
    lai: float
    values: tuple[float, ...]


def read_cases(folder: Path) -> list[Case]:
    """Lines of the reference.

    Parameters
    ----------
    folder : Path
        Folder of the real data.
    """
    with (folder / "reference" / "rami4pilps_reference.csv").open() as file:
        return [
            Case(
                row["quantity"],
                row["band"],
                row["background"],
                float(row["density"]) / 100.0,
                tuple(float(row[f"sza{angle}"]) for angle in SUN),
            )
            for row in csv.DictReader(file)
        ]


def energy(model: str, case: Case) -> CanopyEnergy:
    """What a model says of a case, at the three sun angles."""
    rho, tau, rsoil = (
        torch.tensor([x], dtype=torch.float64)
        for x in (*LEAVES[case.band], SOILS[case.band][BACKGROUNDS.index(case.background)])
    )
    tts = torch.tensor(SUN, dtype=torch.float64)
    lidf = campbell(torch.tensor(SPHERICAL, dtype=torch.float64))
    if model == "4SAIL":
        sun = canopy_geometry(lidf, tts, 0.0, 0.0)
        lai = torch.tensor(case.lai, dtype=torch.float64)
        return canopy_energy(rho, tau, rsoil, lai, sun.ks[:, None], sun.bf[:, None])
    canopy = crown_canopy(case.lai, lidf, case.lai / CROWN_LAI, tts, 0.0, 0.0, 0.1)
    if model == "crowns":
        return clumped_energy(rho, tau, rsoil, canopy)
    scalars = (value[:, None] for value in (canopy.lai, canopy.ks, canopy.bf))
    return canopy_energy(rho, tau, rsoil, *scalars)


def errors_of(cases: Iterable[Case]) -> dict[str, list[tuple[Case, float]]]:
    """Model minus reference of every case and sun angle, by model.

    Parameters
    ----------
    cases : iterable of Case
        Lines of the reference.
    """
    found: dict[str, list[tuple[Case, float]]] = {model: [] for model in MODELS}
    for case in cases:
        for model in MODELS:
            flux: Tensor = getattr(energy(model, case), FLUXES[case.quantity])[:, 0]
            found[model] += [
                (case, float(value) - expected)
                for value, expected in zip(flux, case.values, strict=True)
            ]
    return found


def rows(errors: dict[str, list[tuple[Case, float]]]) -> list[dict[str, Any]]:
    """Root mean squared and largest errors by band, leaf area and quantity."""
    table = []
    for band in LEAVES:
        for lai in (0.5, 1.5, 2.5):
            for quantity in FLUXES:
                row: dict[str, Any] = {"band": band, "lai": lai, "quantity": quantity}
                for model in MODELS:
                    found = [
                        error
                        for case, error in errors[model]
                        if (case.band, case.lai, case.quantity) == (band, lai, quantity)
                    ]
                    row[f"{model} rmse"] = math.sqrt(sum(e * e for e in found) / len(found))
                    row[f"{model} max"] = max(abs(e) for e in found)
                table.append(row)
    return table


def main() -> None:
    """Measure, print and write."""
    chosen = parser(__doc__, "rami4pilps.json").parse_args()
    record = Record("Open forest of RAMI4PILPS", chosen)
    errors = errors_of(read_cases(data_folder()))
    record.table("cases", "error of the fraction of incoming light", rows(errors))
    overall = [
        {
            "model": model,
            **{
                f"{quantity} rmse": math.sqrt(
                    sum(e * e for case, e in found if case.quantity == quantity)
                    / sum(case.quantity == quantity for case, _ in found)
                )
                for quantity in FLUXES
            },
            "max": max(abs(e) for _, e in found),
        }
        for model, found in errors.items()
    ]
    record.table("overall", "over all bands, soils, leaf areas and sun angles", overall)
    record.write()


if __name__ == "__main__":
    main()
