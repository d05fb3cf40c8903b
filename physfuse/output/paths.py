"""Where an output may be written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from physfuse.radiative.errors import FileFormatError, OutputExistsError

_SUFFIXES = (".nc", ".nc4")


def check_output_path(
    path: str | Path,
    overwrite: bool = False,
    inputs: Iterable[object] = (),
    suffixes: tuple[str, ...] = _SUFFIXES,
) -> Path:
    """Refuse an output that cannot or must not be written; to be called before any work.

    Parameters
    ----------
    path : str or Path
        The file to be written.
    overwrite : bool
        Whether a file that exists may be replaced.
    inputs : iterable
        Paths that the run reads (other things in it are passed over); the output must be none of
        them.
    suffixes : tuple of str
        Ends that its name may have; NetCDF where not given.

    Returns
    -------
    Path
        The path, with ``~`` expanded.

    Raises
    ------
    OutputExistsError
        The file exists, or it is an input of the run.
    FileFormatError
        A name with another end.
    FileNotFoundError
        The folder does not exist.
    PermissionError
        The folder cannot be written to.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in suffixes:
        what = f"the output {path} ends in {path.suffix or 'nothing'!r}; allowed: "
        what += " or ".join(suffixes)
        if suffixes == _SUFFIXES:
            what += (
                ", physfuse writes NetCDF-4; convert afterwards, for example with "
                "xarray.open_dataset(...).to_zarr(...)"
            )
        raise FileFormatError(what)
    folder = path.parent
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the folder {folder} of the output {path.name} does not exist; make it first: "
            f"mkdir -p {folder}"
        )
    for source in inputs:
        if isinstance(source, str | Path) and _same(Path(source), path):
            raise OutputExistsError(
                f"the output {path} is also an input of this run; give it another name"
            )
    if path.is_dir():
        raise OutputExistsError(f"the output {path} is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise OutputExistsError(
            f"the output {path} exists; give another name, or allow it to be replaced: "
            "--overwrite (overwrite=True in Python)"
        )
    if not os.access(folder, os.W_OK):
        raise PermissionError(
            f"the folder {folder} of the output {path.name} cannot be written to; choose another "
            "one or change its permissions"
        )
    return path


def check_output_folder(
    folder: str | Path, overwrite: bool = False, names: Iterable[str] = ()
) -> Path:
    """Refuse a folder that files cannot or must not be written to; to be called before any work.

    Parameters
    ----------
    folder : str or Path
    overwrite : bool
        Whether files of an earlier run may be replaced.
    names : iterable of str
        Of these files.

    Returns
    -------
    Path
        The folder, with ``~`` expanded; it need not exist.

    Raises
    ------
    OutputExistsError
        It is a file, or a file of an earlier run is in it.
    FileNotFoundError
        The folder that it is to be made in does not exist.
    PermissionError
        It cannot be written to.
    """
    folder = Path(folder).expanduser()
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(f"the output {folder} is a file; give the name of a folder")
    if not folder.exists() and not folder.parent.is_dir():
        raise FileNotFoundError(
            f"the folder {folder.parent} of the output {folder.name} does not exist; make it "
            f"first: mkdir -p {folder.parent}"
        )
    there = [name for name in names if (folder / name).exists()]
    if there and not overwrite:
        raise OutputExistsError(
            f"{folder / there[0]} exists; choose another folder, or allow it to be replaced: "
            "--overwrite (overwrite=True in Python)"
        )
    if not os.access(folder if folder.exists() else folder.parent, os.W_OK):
        raise PermissionError(f"the folder {folder} cannot be written to; choose another one")
    return folder


def _same(first: Path, second: Path) -> bool:
    return first.exists() and second.exists() and first.samefile(second)
