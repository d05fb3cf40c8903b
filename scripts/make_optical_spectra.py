"""Make the table of optical constants that the package ships.

The table holds the specific absorption coefficients and refractive indices of PROSPECT-5, -D and
-PRO and the two classical soil spectra, 400-2500 nm in steps of 1 nm. They are published numbers;
the text files read here are those carried by PyPI ``prosail`` 2.0.5 and, for the proteins and
carbon-based constituents of PROSPECT-PRO, PyPI ``torchrtm`` 1.5.8. Both packages are needed by
this script only. All other columns of PROSPECT-PRO are those of PROSPECT-D, which is checked.

Run from the repository root::

    pip install prosail==2.0.5; pip install --no-deps torchrtm==1.5.8
    python scripts/make_optical_spectra.py physfuse/radiative/data/optical_spectra.nc
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.resources
import io
from pathlib import Path

import netCDF4
import numpy as np

LEAF_FILE = "prospect_d_spectra.txt"
LEAF_5_FILE = "prospect5_spectra.txt"
SOIL_FILE = "soil_reflectance.txt"
LEAF_PRO_FILE = "data_prospectpro.csv"
PRO_COLUMNS = ("n", "Cab", "Car", "Cbrown", "Cw", "Canth", "prot", "Cbc")
SOURCE_SHA256 = {
    LEAF_5_FILE: "2f24c4978af996b2f82d49a4d29b34eb034d2cf8afebf5979727b89049b8efce",
    LEAF_PRO_FILE: "39c955a224adec247ba50fa0bdfa2f22f10f7f544b7fe426d2b94281c8108b16",
    LEAF_FILE: "e703b345f0a0860808e230ca0869f5b108ca1115ab9950c9651a29fee72c474d",
    SOIL_FILE: "6bfc46aafb5547ac6d4ffacc72acc29a242b554e93c10cf08a8509df600a7ad1",
}
FERET_2008 = (
    "Feret, Francois, Asner, Gitelson, Martin, Bidel, Ustin, le Maire, Jacquemoud (2008). "
    "PROSPECT-4 and 5: Advances in the leaf optical properties model separating photosynthetic "
    "pigments. Remote Sensing of Environment 112, 3030-3043, doi:10.1016/j.rse.2008.02.012"
)
FERET_2021 = (
    "Feret, Berger, de Boissieu, Malenovsky (2021). PROSPECT-PRO for estimating content of "
    "nitrogen-containing leaf proteins and other carbon-based constituents. Remote Sensing of "
    "Environment 252, 112173, doi:10.1016/j.rse.2020.112173"
)
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
    "refractive_index_5": ("1", "refractive index of leaf material, PROSPECT-5", FERET_2008),
    "k_cab_5": ("cm2 ug-1", "absorption of chlorophyll a+b, PROSPECT-5", FERET_2008),
    "k_car_5": ("cm2 ug-1", "absorption of carotenoids, PROSPECT-5", FERET_2008),
    "k_cbrown_5": ("1", "absorption of brown pigments, PROSPECT-5", FERET_2008),
    "k_cw_5": ("cm-1", "absorption of water, PROSPECT-5", FERET_2008),
    "k_cm_5": ("cm2 g-1", "absorption of dry matter, PROSPECT-5", FERET_2008),
    "k_prot": ("cm2 g-1", "absorption of proteins, PROSPECT-PRO", FERET_2021),
    "k_cbc": ("cm2 g-1", "absorption of other carbon-based matter, PROSPECT-PRO", FERET_2021),
}


def checked(name: str, content: bytes) -> io.BytesIO:
    """Content of a source file after checking that it is what this script was written for.

    Parameters
    ----------
    name : str
        File name inside the source package.
    content : bytes
        What was read.

    Returns
    -------
    io.BytesIO
        The content, to be read.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != SOURCE_SHA256[name]:
        raise SystemExit(f"{name} has sha256 {found}, expected {SOURCE_SHA256[name]}")
    return io.BytesIO(content)


def read_text(name: str) -> np.ndarray:
    """Read a table of PyPI ``prosail``.

    Parameters
    ----------
    name : str
        File name inside the package.

    Returns
    -------
    ndarray, shape (row, column)
        The numbers of the table.
    """
    path = importlib.resources.files("prosail").joinpath(name)
    return np.loadtxt(checked(name, path.read_bytes()))


def read_pro() -> dict[str, np.ndarray]:
    """Read the table of PROSPECT-PRO of PyPI ``torchrtm``, which is not imported.

    Returns
    -------
    dict of str to ndarray, shape (row,)
        Columns by the names that stand above them in the file. The documentation of the package
        gives them another order, in which anthocyanins come third.
    """
    package = importlib.metadata.distribution("torchrtm")
    path = Path(str(package.locate_file(f"torchrtm/data/{LEAF_PRO_FILE}")))
    content = checked(LEAF_PRO_FILE, path.read_bytes())
    header = content.readline().decode().strip().split(",")
    if tuple(header[2:]) != PRO_COLUMNS:
        raise SystemExit(f"{LEAF_PRO_FILE} has columns {header[2:]}, expected {PRO_COLUMNS}")
    return dict(zip(header, np.loadtxt(content, delimiter=",").T, strict=True))


def write_table(path: Path) -> None:
    """Write the NetCDF table.

    Parameters
    ----------
    path : Path
        File to write; replaced where it exists.
    """
    leaf, soil, leaf_5 = read_text(LEAF_FILE), read_text(SOIL_FILE), read_text(LEAF_5_FILE)
    wavelength, *d = leaf.T
    pro = read_pro()
    for name, column in zip(("n", "Cab", "Car", "Canth", "Cbrown", "Cw"), d, strict=False):
        # The source of PRO keeps six digits of the absorption coefficients.
        if np.abs(pro[name] - column).max() > 6e-8:
            raise SystemExit(f"PROSPECT-PRO and PROSPECT-D differ in {name}")
    # The soil table was stored as float32: take back its five published decimals. So was that of
    # PROSPECT-5, whose decimals vary; it stays as it is.
    values = [*d, *np.round(soil, 5).T, *leaf_5.T, pro["prot"], pro["Cbc"]]
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
                "title": "PROSPECT-5, -D and -PRO leaf constants; dry and wet soil reflectance",
                "source": "published tables as carried by PyPI prosail 2.0.5 (GPL-3.0) and, for "
                "k_prot and k_cbc, PyPI torchrtm 1.5.8 (MIT)",
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
