"""The domain of every argument of the forward models, and points drawn from it."""

from __future__ import annotations

import torch
from torch import Tensor

from .model import Domain, ForwardModel

LEAF_DOMAINS = {
    "n": Domain(1.0, 3.0, "1"),
    "cab": Domain(0.0, 100.0, "ug cm-2"),
    "car": Domain(0.0, 30.0, "ug cm-2"),
    "ant": Domain(0.0, 10.0, "ug cm-2"),
    "cbrown": Domain(0.0, 1.5, "1"),
    "cw": Domain(0.0, 0.06, "cm"),
    "cm": Domain(0.0, 0.02, "g cm-2"),
}
"""Leaf: from pure water-free, pigment-free matter on."""

LEAF_PRO_DOMAINS = {
    **{name: domain for name, domain in LEAF_DOMAINS.items() if name != "cm"},
    "prot": Domain(0.0, 0.004, "g cm-2"),
    "cbc": Domain(0.0, 0.016, "g cm-2"),
}
"""Leaf with its dry matter in two parts."""

BIMODAL_DOMAINS = {
    "lidfa": Domain(-0.5, 0.5, "1"),
    "lidfb": Domain(-0.49, 0.5, "1"),
}
"""Leaf angles of Verhoef; every pair has abs(lidfa) + abs(lidfb) at most 1."""

CANOPY_DOMAINS = {
    "lai": Domain(0.0, 10.0, "m2 m-2"),
    "ala": Domain(20.0, 85.0, "degree", special=(58.4351034,)),
    "hspot": Domain(0.0, 1.0, "1"),
}
"""Canopy; the special leaf angle is where the ellipsoid is a sphere."""

CROWN_DOMAINS = {
    "crown_cover": Domain(0.05, 0.95, "1"),
    "crown_ratio": Domain(0.5, 3.0, "1"),
    "omega_nadir": Domain(0.2, 1.0, "1"),
    "zenith": Domain(0.0, 85.0, "degree"),
}
"""Crowns, and the clumping that they make."""

GEOMETRY_DOMAINS = {
    "tts": Domain(0.0, 80.0, "degree", special=(30.0,)),
    "tto": Domain(0.0, 70.0, "degree", special=(30.0,)),
    "psi": Domain(0.0, 180.0, "degree"),
}
"""Sun and sensor; equal special zenith angles meet in the hotspot."""

SOIL_DOMAINS = {
    "rsoil": Domain(0.0, 0.95, "1"),
    "soil_rate": Domain(0.5, 10.0, "1"),
    "skyl": Domain(0.0, 1.0, "1"),
    "soil_brightness": Domain(0.2, 2.0, "1"),
    "soil_shape_1": Domain(-0.5, 0.5, "1", special=(0.0,)),
    "soil_shape_2": Domain(-0.5, 0.5, "1", special=(0.0,)),
    "soil_shape_3": Domain(-0.5, 0.5, "1", special=(0.0,)),
    "soil_darkening": Domain(0.1, 3.0, "1"),
    "soil_moisture": Domain(0.0, 0.6, "m3 m-3", special=(0.01, 0.5)),
    "clay": Domain(0.05, 0.5, "1"),
    "sand": Domain(0.05, 0.5, "1"),
}
"""Soil as light and radar see it; special moistures are a floor of radar models and saturation."""

RADAR_DOMAINS = {
    "roughness": Domain(0.0, 5.0, "cm"),
    "incidence_angle": Domain(18.0, 57.0, "degree"),
    "frequency_ghz": Domain(1.0, 10.0, "GHz"),
    "a": Domain(0.0, 0.5, "1"),
    "b": Domain(0.0, 1.0, "m2 kg-1"),
    "v1": Domain(0.0, 10.0, "kg m-2"),
    "v2": Domain(0.0, 10.0, "kg m-2"),
    "e": Domain(0.0, 2.0, "1", special=(1.0,)),
    "soil_sigma0": Domain(1e-4, 1.0, "1"),
    "intercept_db": Domain(-30.0, -5.0, "dB"),
    "slope_db": Domain(5.0, 60.0, "dB (m3 m-3)-1"),
    "sigma0": Domain(1e-4, 1.0, "1"),
    "looks": Domain(1.0, 100.0, "1"),
    "nesz": Domain(0.0, 0.01, "1"),
}
"""Radar; angles that both bare-soil models were made from."""

CANOPY_ECHO_DOMAINS = {
    "albedo": Domain(0.0, 1.0, "1"),
    "extinction_v": Domain(0.0, 4.0, "m-1"),
    "extinction_h": Domain(0.0, 4.0, "m-1"),
    "height": Domain(0.0, 2.0, "m"),
    "reflectivity_v": Domain(0.0, 1.0, "1"),
    "reflectivity_h": Domain(0.0, 1.0, "1"),
    "permittivity_real": Domain(1.0, 60.0, "1"),
    "permittivity_imag": Domain(0.0, 30.0, "1"),
    "gravimetric_moisture": Domain(0.0, 0.8, "1", special=(0.13818182,)),
}
"""Canopy and the soil below as radar meets them; below the special moisture leaves have no free
water."""

MATTER_DOMAINS = {
    "k": Domain(0.0, 10.0, "1"),
    "rho": Domain(0.0, 0.5, "1"),
    "tau": Domain(0.0, 0.5, "1"),
    "reflectance": Domain(0.0, 1.0, "1"),
}
"""Inside the models: absorption, leaf reflectance and transmittance; together at most 1."""

DOMAINS: dict[str, Domain] = {
    **LEAF_DOMAINS,
    **LEAF_PRO_DOMAINS,
    **BIMODAL_DOMAINS,
    **CANOPY_DOMAINS,
    **CROWN_DOMAINS,
    **GEOMETRY_DOMAINS,
    **SOIL_DOMAINS,
    **RADAR_DOMAINS,
    **CANOPY_ECHO_DOMAINS,
    **MATTER_DOMAINS,
}
"""Every argument by name. The default priors of the retrieval lie well inside."""


def sample_points(model: ForwardModel, count: int, seed: int = 0) -> dict[str, Tensor]:
    """Draw points uniformly from the domain of a model.

    Parameters
    ----------
    model : ForwardModel
        The model that says which arguments there are.
    count : int
        Number of points.
    seed : int
        Of the generator; the same points come back with the same seed.

    Returns
    -------
    dict of str to Tensor, shape (count,)
        Arguments by name, float64.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        name: domain.low
        + domain.width * torch.rand(count, dtype=torch.float64, generator=generator)
        for name, domain in model.domain.items()
    }
