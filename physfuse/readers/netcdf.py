"""NetCDF files, opened lazily."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from physfuse.radiative.errors import FileFormatError

_SIGNATURES = {
    b"II*\x00": "a TIFF (GeoTIFF) image",
    b"MM\x00*": "a TIFF (GeoTIFF) image",
    b"\x00\x00\x00\x0cjP": "a JPEG 2000 image (a Sentinel-2 .SAFE band?)",
    b"\x89PNG": "a PNG image",
    b"PK\x03\x04": "a ZIP archive (unpack it first)",
    b"\x1f\x8b": "a gzip archive (unpack it first)",
    b"GRIB": "a GRIB file",
    b"PAR1": "a Parquet table",
    b"{": "JSON text",
    b"<": "XML or HTML text (a failed download?)",
}
_WAY_OUT = (
    "physfuse reads NetCDF, Zarr and raw openEO NetCDF cubes; read other formats with xarray "
    "(for example rioxarray.open_rasterio), build a Dataset with reflectance(time, band, y, x) or "
    "backscatter(time, polarization, y, x), and pass that or save it with .to_netcdf()"
)


def read_netcdf(path: str | Path) -> xr.Dataset:
    """Open a NetCDF file; values are read when they are asked for.

    Parameters
    ----------
    path : str or Path
        A NetCDF 3 or 4 file, or the address of a server (``https://...``) that netCDF4 can open.

    Returns
    -------
    xarray.Dataset
        Decoded by the CF conventions, lazy.

    Raises
    ------
    FileNotFoundError
        No such file.
    FileFormatError
        A file that is no NetCDF, a damaged one, or a folder.
    """
    if "://" not in str(path):
        path = Path(path).expanduser()
        _check_signature(path)
    try:
        return xr.open_dataset(path, engine="netcdf4")
    except (OSError, ValueError, RuntimeError) as error:
        raise FileFormatError(
            f"{path} begins like a NetCDF file but cannot be opened, it may be damaged or cut off "
            f"({type(error).__name__}: {error}); get it again, or test it with `ncdump -h`"
        ) from error


def _check_signature(path: Path) -> None:
    if not path.exists():
        beside = path.parent if path.parent.exists() else Path.cwd()
        others = sorted(p.name for p in beside.glob("*.nc"))[:8]
        hint = f"NetCDF files in {beside}: {', '.join(others)}" if others else "check the path"
        raise FileNotFoundError(f"no file {path}; {hint}")
    if path.is_dir():
        raise FileFormatError(f"{path} is a folder and no Zarr store; {_WAY_OUT}")
    with path.open("rb") as file:
        start = file.read(512)
    if start[:3] == b"CDF" or start[:8] == b"\x89HDF\r\n\x1a\n":
        return
    if not start:
        found = "an empty file"
    else:
        found = next(
            (text for begin, text in _SIGNATURES.items() if start.startswith(begin)),
            f"a file that begins with {start[:8]!r}",
        )
    raise FileFormatError(f"{path} is no NetCDF file: found {found}; {_WAY_OUT}")
