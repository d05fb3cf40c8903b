"""Bare-soil models against full-wave solutions of Maxwell's equations.

The table (NMM3D, Huang and Tsang) holds sigma0 at 40 degrees of surfaces with an exponential
autocorrelation: correlation length 4 to 15 times the rms height, rms height 0.021 to 0.21
wavelengths (ks 0.13 to 1.32), eps' 3 to 30. Models of moisture get the moisture whose permittivity
by Topp (1980) is eps'; models of permittivity get eps' + j eps''. The 24 cross-polarised values of
-Inf are left out.

Lengths of the table are in wavelengths, and most models know lengths in wavelengths only. Two do
not: ``dubois_1995``, which has a factor wavelength^0.7, and ``iem_baghdadi``, whose correlation
length is in centimetres and by band. They are shown at 1.26 GHz, the L band that the solutions were
computed for (Huang et al., 2010, doi:10.1109/TGRS.2010.2040748), and at 5.405 GHz.

Bias is model less truth. Nothing here is fitted::

    python -m benchmarks.science.full_wave
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.science.record import Record, data_folder, parser
from physfuse.radiative.bare_soil import (
    SENTINEL1_FREQUENCY_GHZ,
    SPEED_OF_LIGHT,
    SoilBackscatter,
    baghdadi_2016,
    dubois_1995,
    oh_1992,
    oh_2004,
)
from physfuse.radiative.iem import iem, iem_baghdadi
from physfuse.radiative.soil_permittivity import SoilPermittivity

TABLE = Path("reference") / "NMM3D_LUT_NRCS_40degree.dat"
L_BAND_GHZ = 1.26
POLARIZATIONS = ("vv", "hh", "vh")


class FullWave(NamedTuple):
    """Surfaces of the table, lengths in wavelengths, and their backscatter."""

    angle: Tensor
    height: Tensor
    correlation_length: Tensor
    permittivity: SoilPermittivity
    moisture: Tensor
    sigma0_db: NDArray[np.float64]

    @property
    def ks(self) -> Tensor:
        """Rms height times the wavenumber."""
        return 2 * torch.pi * self.height


def read_table(path: Path) -> FullWave:
    """Surfaces, and backscatter in VV, HH, VH [dB] of shape (surface, 3)."""
    table = np.genfromtxt(path)
    angle, ratio, real, imag, height, *_ = (torch.tensor(x.copy()) for x in table.T)
    return FullWave(
        angle=angle,
        height=height,
        correlation_length=ratio * height,
        permittivity=SoilPermittivity(real, imag),
        moisture=-5.3e-2 + 2.92e-2 * real - 5.5e-4 * real**2 + 4.3e-6 * real**3,
        sigma0_db=table[:, 5:8],
    )


class Case(NamedTuple):
    """A model, the frequency at which lengths become centimetres, what else it takes."""

    model: Callable[..., SoilBackscatter]
    frequency_ghz: float = L_BAND_GHZ
    takes_permittivity: bool = True
    takes_correlation_length: bool = False
    options: Mapping[str, str] = MappingProxyType({})


CASES = {
    "iem": Case(iem, takes_correlation_length=True),
    "iem_baghdadi L": Case(iem_baghdadi, options={"band": "L"}),
    "iem_baghdadi C": Case(iem_baghdadi, SENTINEL1_FREQUENCY_GHZ, options={"band": "C"}),
    "oh_1992": Case(oh_1992),
    "oh_2004": Case(oh_2004, takes_permittivity=False),
    "dubois_1995": Case(dubois_1995),
    "dubois_1995 C": Case(dubois_1995, SENTINEL1_FREQUENCY_GHZ),
    "baghdadi_2016": Case(baghdadi_2016, takes_permittivity=False),
}
"""What is compared, by name."""


def echo(case: Case, table: FullWave) -> SoilBackscatter:
    """Backscatter of the surfaces of the table by a model."""
    wavelength_cm = 1e-7 * SPEED_OF_LIGHT / case.frequency_ghz
    given: dict[str, Any] = dict(case.options)
    if case.takes_permittivity:
        given["permittivity"] = table.permittivity
    if case.takes_correlation_length:
        given["correlation_length"] = table.correlation_length * wavelength_cm
    roughness = table.height * wavelength_cm
    return case.model(table.moisture, roughness, table.angle, case.frequency_ghz, **given)


def errors_db(case: Case, table: FullWave) -> dict[str, NDArray[np.float64]]:
    """Model less truth by polarisation, NaN where the truth is -Inf. [dB].

    Parameters
    ----------
    case : Case
        A value of :data:`CASES`.
    table : FullWave
        Surfaces and truth.
    """
    found = echo(case, table)
    out = {}
    for i, polarization in enumerate(POLARIZATIONS):
        power = getattr(found, polarization)
        if power is not None:
            truth = table.sigma0_db[:, i]
            known = np.where(np.isfinite(truth), truth, np.nan)
            out[polarization] = 10 * np.log10(power.numpy()) - known
    return out


def rows(table: FullWave, least_ks: float) -> list[dict[str, Any]]:
    """RMSE and bias of every model over surfaces of at least a roughness. [dB]."""
    rough = (table.ks >= least_ks).numpy()
    out = []
    for name, case in CASES.items():
        errors = {k: error[rough] for k, error in errors_db(case, table).items()}
        row: dict[str, Any] = {"model": name, "n": int(rough.sum())}
        for polarization in POLARIZATIONS:
            error = errors.get(polarization)
            row[f"rmse_{polarization}"] = (
                None if error is None else float(np.sqrt(np.nanmean(error**2)))
            )
            row[f"bias_{polarization}"] = None if error is None else float(np.nanmean(error))
        out.append(row)
    return out


def main() -> None:
    """Run the benchmark."""
    options = parser(__doc__, "full_wave.json").parse_args()
    record = Record("Bare-soil models against full-wave solutions at 40 degrees [dB]", options)
    table = read_table(data_folder() / TABLE)
    record.value("surfaces", len(table.ks))
    record.value("without_vh", int(np.isinf(table.sigma0_db[:, 2]).sum()), "of them without VH")
    record.table("all", "all surfaces, ks 0.13 to 1.32", rows(table, 0.0))
    record.table("rough", "surfaces with ks of 0.4 and more", rows(table, 0.4))
    record.write()


if __name__ == "__main__":
    main()
