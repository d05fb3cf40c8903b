"""Make the table of optical constants that the package ships.

The table holds the PROSPECT-D specific absorption coefficients and refractive index and the two
classical soil spectra, 400-2500 nm in steps of 1 nm. They are published numbers; the text files
read here are those carried by PyPI ``prosail`` 2.0.5, which is needed by this script only.

Run from the repository root::

    python scripts/make_optical_spectra.py physfuse/radiative/data/optical_spectra.nc
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.resources
import io
from pathlib import Path

import netCDF4
import numpy as np

LEAF_FILE = "prospect_d_spectra.txt"
SOIL_FILE = "soil_reflectance.txt"
SOURCE_SHA256 = {
    LEAF_FILE: "e703b345f0a0860808e230ca0869f5b108ca1115ab9950c9651a29fee72c474d",
    SOIL_FILE: "6bfc46aafb5547ac6d4ffacc72acc29a242b554e93c10cf08a8509df600a7ad1",
}
FERET_2017 = (
    "Feret, Gitelson, Noble, Jacquemoud (2017). PROSPECT-D: Towards modeling leaf optical "
    "properties through a complete lifecycle. Remote Sensing of Environment 193, 204-215, "
    "doi:10.1016/j.rse.2017.03.004"
)
JACQUEMOUD_2009 = (
    "Jacquemoud et al. (2009). PROSPECT + SAIL models: A review of use for vegetation "
    "characterization. Remote Sensing of Environment 113, S56-S66, doi:10.1016/j.rse.2008.01.026"
)
COLUMNS = {
    "refractive_index": ("1", "refractive index of leaf material", FERET_2017),
    "k_cab": ("cm2 ug-1", "specific absorption coefficient of chlorophyll a+b", FERET_2017),
    "k_car": ("cm2 ug-1", "specific absorption coefficient of carotenoids", FERET_2017),
    "k_ant": ("cm2 ug-1", "specific absorption coefficient of anthocyanins", FERET_2017),
    "k_cbrown": ("1", "specific absorption coefficient of brown pigments", FERET_2017),
    "k_cw": ("cm-1", "specific absorption coefficient of water", FERET_2017),
    "k_cm": ("cm2 g-1", "specific absorption coefficient of dry matter", FERET_2017),
    "soil_dry": ("1", "reflectance of dry soil", JACQUEMOUD_2009),
    "soil_wet": ("1", "reflectance of wet soil", JACQUEMOUD_2009),
}


def read_text(name: str) -> np.ndarray:
    """Read one source table after checking that it is the file this script was written for.

    Parameters
    ----------
    name : str
        File name inside the source package.

    Returns
    -------
    ndarray, shape (row, column)
        The numbers of the table.
    """
    content = importlib.resources.files("prosail").joinpath(name).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SOURCE_SHA256[name]:
        raise SystemExit(f"{name} has sha256 {found}, expected {SOURCE_SHA256[name]}")
    return np.loadtxt(io.BytesIO(content))


def write_table(path: Path) -> None:
    """Write the NetCDF table.

    Parameters
    ----------
    path : Path
        File to write; replaced where it exists.
    """
    leaf, soil = read_text(LEAF_FILE), read_text(SOIL_FILE)
    wavelength = leaf[:, 0]
    # The soil table was stored as float32: take back its five published decimals.
    values = [*leaf[:, 1:].T, *np.round(soil, 5).T]
    digest = hashlib.sha256(wavelength.tobytes())
    with netCDF4.Dataset(path, "w") as table:
        table.createDimension("wavelength", wavelength.size)
        axis = table.createVariable("wavelength", "f8", ("wavelength",))
        axis.setncatts({"units": "nm", "standard_name": "radiation_wavelength"})
        axis[:] = wavelength
        for (name, (units, long_name, reference)), column in zip(
            COLUMNS.items(), values, strict=True
        ):
            variable = table.createVariable(name, "f8", ("wavelength",), zlib=True, shuffle=True)
            variable.setncatts({"units": units, "long_name": long_name, "references": reference})
            variable[:] = column
            digest.update(np.ascontiguousarray(column).tobytes())
        table.setncatts(
            {
                "Conventions": "CF-1.11",
                "title": "PROSPECT-D leaf constants and dry and wet soil reflectance",
                "source": "published tables as carried by PyPI prosail 2.0.5",
                "source_sha256": " ".join(f"{k}:{v}" for k, v in SOURCE_SHA256.items()),
                "history": "made by scripts/make_optical_spectra.py",
                "license": "published scientific constants; cite the references",
                "values_sha256": digest.hexdigest(),
            }
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    write_table(parser.parse_args().path)
