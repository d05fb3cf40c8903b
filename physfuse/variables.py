"""Names, units and CF attributes of everything that physfuse writes.

Standard names are from the CF table, version 93. None exists for leaf chlorophyll, leaf water, dry
matter, vegetation water and roughness: those carry ``long_name`` and ``units`` only.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

from physfuse.radiative.errors import unknown_name

SPREADS: Final = ("q05", "q95", "std")
"""What accompanies each median: 5 % and 95 % quantile and standard deviation."""


FEW_ACQUISITIONS: Final = 5
"""Acquisitions of a pixel in a whole run below which it counts as hardly seen."""

FAR_DAYS: Final = 90
"""Days from any acquisition of a pixel beyond which its leaf area is the prior's: the memory of the
LAI is 40 days, and at 90 the share of the prior exceeds 0.998 in physics. (A share of 0.95, by
contrast, is reached on days of acquisitions: it counts the memory of the prior too.) [d]"""


class QualityFlag(IntFlag):
    """Bits of ``quality_flag``."""

    PRIOR_ONLY = 1
    NOT_CONVERGED = 2
    FEW_OBSERVATIONS = 4
    OUT_OF_DOMAIN = 8
    SATURATED = 16
    SUN_TOO_LOW = 32


_FLAG_MEANINGS: Final = {
    QualityFlag.PRIOR_ONLY: f"no observation of this pixel within {FAR_DAYS} days of this day",
    QualityFlag.NOT_CONVERGED: "the iteration stopped before it converged",
    QualityFlag.FEW_OBSERVATIONS: (
        f"fewer than {FEW_ACQUISITIONS} observations of this pixel in the whole run"
    ),
    QualityFlag.OUT_OF_DOMAIN: "input or state outside the domain of the models",
    QualityFlag.SATURATED: "the sensors no longer see a change of the leaf area",
    QualityFlag.SUN_TOO_LOW: "sun below 5 degree, variables of the canopy's light are missing",
}


def _row(
    units: str, long_name: str, standard_name: str | None = None, comment: str | None = None
) -> dict[str, str]:
    row = {"long_name": long_name, "units": units}
    if standard_name is not None:
        row["standard_name"] = standard_name
    if comment is not None:
        row["comment"] = comment
    return row


STATE_ATTRIBUTES: Final[dict[str, dict[str, str]]] = {
    "lai": _row(
        "1",
        "leaf area index",
        "leaf_area_index",
        "effective, green and brown leaves together: the area that PROSAIL's canopy needs",
    ),
    "cab": _row("ug cm-2", "leaf chlorophyll a and b per leaf area"),
    "cbrown": _row("1", "brown pigment content of leaves, arbitrary units of PROSPECT"),
    "cw": _row("cm", "leaf water, equivalent thickness"),
    "ala": _row("degree", "average leaf inclination angle"),
    "soil_brightness": _row("1", "brightness of the soil relative to the reference soil"),
    "soil_moisture": _row(
        "1",
        "soil moisture, volume of water per volume of soil, upper 5 cm",
        "volume_fraction_of_condensed_water_in_soil",
    ),
    "stem_water_ratio": _row("1", "water in stems and fruits relative to water in leaves"),
    "n": _row("1", "leaf structure parameter of PROSPECT"),
    "car_ratio": _row("1", "leaf carotenoids relative to chlorophyll"),
    "cm": _row("g cm-2", "leaf dry matter per leaf area"),
    "soil_shape_1": _row("1", "soil spectrum, slope from visible to near infrared"),
    "soil_shape_2": _row("1", "soil spectrum, step to the shortwave infrared"),
    "soil_shape_3": _row("1", "soil spectrum, hump in the blue"),
    "soil_darkening": _row("1", "darkening of the soil with moisture"),
    "roughness": _row("cm", "rms height of the soil surface"),
    "wcm_a_vv": _row("1", "water cloud model, A of VV"),
    "wcm_a_vh": _row("1", "water cloud model, A of VH"),
    "wcm_b_vv": _row("m2 kg-1", "water cloud model, B of VV"),
    "wcm_b_vh": _row("m2 kg-1", "water cloud model, B of VH"),
    "hspot": _row("1", "hotspot parameter, leaf size relative to canopy height"),
    "ant": _row("ug cm-2", "leaf anthocyanins per leaf area"),
}
"""State variables, in the order of the state table."""

DERIVED_ATTRIBUTES: Final[dict[str, dict[str, str]]] = {
    "fapar": _row(
        "1",
        "fraction of absorbed photosynthetically active radiation, black-sky, 10:00 local solar "
        "time",
        "fraction_of_surface_downwelling_photosynthetic_radiative_flux_absorbed_by_vegetation",
        "direct light only; leaves of all colours absorb",
    ),
    "fapar_white": _row(
        "1",
        "fraction of absorbed photosynthetically active radiation, white-sky",
        "fraction_of_surface_downwelling_photosynthetic_radiative_flux_absorbed_by_vegetation",
        "diffuse light only; leaves of all colours absorb",
    ),
    "fcover": _row(
        "1", "fraction of ground covered by leaves, seen from nadir", "vegetation_area_fraction"
    ),
    "albedo": _row(
        "1",
        "shortwave albedo, black-sky, 10:00 local solar time",
        "surface_albedo",
        "direct light only",
    ),
    "ccc": _row("g m-2", "canopy chlorophyll content"),
    "cwc": _row("kg m-2", "canopy water content, leaves"),
    "vwc": _row("kg m-2", "vegetation water content, leaves, stems and fruits"),
}
"""Variables derived from the state."""

DIAGNOSTIC_ATTRIBUTES: Final[dict[str, dict[str, str]]] = {
    "quality_flag": _row("1", "quality flag", "quality_flag"),
    "n_optical": _row("1", "number of optical acquisitions used on this day"),
    "n_radar": _row("1", "number of radar acquisitions used on this day"),
    "share_optical": _row("1", "share of the optical data in the information on the LAI"),
    "share_radar": _row("1", "share of the radar data in the information on the LAI"),
    "share_prior": _row("1", "share of the prior in the information on the LAI"),
}
"""What says how good a day of a pixel is."""

PREDICTION_TITLE: Final = "Predicted observations"
"""How the title of a file of predictions begins."""

PREDICTION_ATTRIBUTES: Final[dict[str, dict[str, str]]] = {
    "reflectance": _row("1", "predicted surface reflectance", "surface_bidirectional_reflectance"),
    "backscatter": _row(
        "1",
        "predicted backscatter sigma0, linear power",
        "surface_backwards_scattering_coefficient_of_radar_wave",
    ),
    "ndvi": _row(
        "1",
        "predicted normalized difference vegetation index",
        "normalized_difference_vegetation_index",
        "of the predicted bands; its spread knows how their errors go together",
    ),
}
"""What each sensor would have seen."""

VARIABLE_ATTRIBUTES: Final = {
    **STATE_ATTRIBUTES,
    **DERIVED_ATTRIBUTES,
    **DIAGNOSTIC_ATTRIBUTES,
    **PREDICTION_ATTRIBUTES,
}
"""Attributes of every variable, spreads left out."""

_DTYPES: Final = {"quality_flag": "u1", "n_optical": "i2", "n_radar": "i2"}


def check_variables(names: list[str]) -> list[str]:
    """Names of state and derived variables, checked.

    Parameters
    ----------
    names : list of str
        As a user gives them.

    Returns
    -------
    list of str
        The same, each once.

    Raises
    ------
    UnknownNameError
        A name that physfuse does not write.
    """
    known = [*STATE_ATTRIBUTES, *DERIVED_ATTRIBUTES]
    for name in names:
        if name not in known:
            raise unknown_name("variable", name, known)
    return list(dict.fromkeys(names))


def field_names(variable: str) -> tuple[str, ...]:
    """The median of a variable and what accompanies it.

    Parameters
    ----------
    variable : str
        ``"lai"``.

    Returns
    -------
    tuple of str
        ``("lai", "lai_q05", "lai_q95", "lai_std")``.
    """
    return (variable, *(f"{variable}_{spread}" for spread in SPREADS))


def field_dtype(field: str) -> str:
    """How a field is stored.

    Parameters
    ----------
    field : str
        Name in the file.

    Returns
    -------
    str
        ``"f4"``; flags and counts are integers.
    """
    return _DTYPES.get(field, "f4")


def field_attributes(field: str) -> dict[str, object]:
    """CF attributes of a field of the output.

    Parameters
    ----------
    field : str
        ``"lai"``, ``"lai_q05"``, ``"quality_flag"`` ...

    Returns
    -------
    dict of str to object
        ``long_name``, ``units``, ``standard_name`` where one exists, ``ancillary_variables``,
        ``cell_methods``, flag masks and meanings.

    Raises
    ------
    UnknownNameError
        A field that physfuse does not write.

    Notes
    -----
    A quantile has no standard name of its own in CF: it carries a ``long_name`` only, and the
    standard deviation is the ``standard_error`` of its variable.
    """
    if field == "quality_flag":
        return {
            **DIAGNOSTIC_ATTRIBUTES[field],
            "flag_masks": [int(flag) for flag in QualityFlag],
            "flag_meanings": " ".join(str(flag.name).lower() for flag in QualityFlag),
            "comment": "; ".join(
                f"{str(flag.name).lower()}: {text}" for flag, text in _FLAG_MEANINGS.items()
            ),
        }
    if field in DIAGNOSTIC_ATTRIBUTES:
        return dict(DIAGNOSTIC_ATTRIBUTES[field])
    if field in VARIABLE_ATTRIBUTES:
        quality = () if field in PREDICTION_ATTRIBUTES else ("quality_flag",)
        kind = "predictive" if field in PREDICTION_ATTRIBUTES else "posterior"
        row = VARIABLE_ATTRIBUTES[field]
        return {
            **row,
            "long_name": f"{row['long_name']} ({kind} median)",
            "cell_methods": "area: mean",
            "ancillary_variables": " ".join((*field_names(field)[1:], *quality)),
        }
    variable, _, spread = field.rpartition("_")
    if variable not in VARIABLE_ATTRIBUTES or spread not in SPREADS:
        raise unknown_name("field of the output", field, VARIABLE_ATTRIBUTES)
    row = VARIABLE_ATTRIBUTES[variable]
    words = {"q05": "5 % quantile", "q95": "95 % quantile", "std": "standard deviation"}
    attributes: dict[str, object] = {
        "long_name": f"{words[spread]} of {row['long_name']}",
        "units": row["units"],
    }
    if spread == "std" and "standard_name" in row:
        attributes["standard_name"] = f"{row['standard_name']} standard_error"
    return attributes
