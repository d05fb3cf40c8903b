"""Differentiable forward models of reflectance and backscatter: functions and thin modules.

Physics only; nothing here knows of cubes, files or inference. Tensors of any leading batch shape,
float32 or float64, on any device; the spectral axis is the last one.
"""

from __future__ import annotations

from .bare_soil import BARE_SOIL_MODELS, SoilBackscatter, baghdadi_2016, bare_soil_model, oh_2004
from .canopy_jacobian import CanopyPartials, reflectance_jacobian
from .directions import HOTSPOT_METHODS, CanopyGeometry, canopy_geometry, hotspot, hotspot_jacobian
from .expint import leaf_transmissivity
from .leaf_angle import (
    LEAF_ANGLE_FAMILIES,
    LEAF_INCLINATIONS,
    campbell,
    campbell_jacobian,
    verhoef,
)
from .prosail import LEAF_MODELS, PROSAIL, prosail
from .prospect import (
    LeafSpectra,
    absorption,
    absorption_pro,
    leaf_spectra,
    plate_model,
    prospect_5,
    prospect_d,
    prospect_pro,
)
from .radiometry import (
    gamma0_to_sigma0,
    optical_noise_sd,
    radar_channel_db,
    radar_channel_variance,
    radar_log_likelihood,
    sample_backscatter,
    sample_reflectance,
    speckle_bias_db,
    speckle_log_likelihood,
    speckle_sd_db,
    student_t_log_likelihood,
    student_t_weight,
    to_db,
    to_linear,
)
from .sail import (
    CanopyEnergy,
    CanopyScattering,
    bidirectional_reflectance,
    canopy_energy,
    canopy_fluxes,
    fcover,
    reflectance_under_sky,
    under_sky,
)
from .soil_reflectance import SoilSpectra, soil_reflectance, soil_reflectance_jacobian, soil_spectra
from .spectral import (
    PLATFORMS,
    BandQuadrature,
    band_average,
    band_quadrature,
    bands_of,
    quadrature_matrix,
    virtual_bands,
)
from .water_cloud import WaterCloud, two_way_attenuation, water_cloud

__all__ = [
    "BARE_SOIL_MODELS",
    "HOTSPOT_METHODS",
    "LEAF_ANGLE_FAMILIES",
    "LEAF_INCLINATIONS",
    "LEAF_MODELS",
    "PLATFORMS",
    "PROSAIL",
    "BandQuadrature",
    "CanopyEnergy",
    "CanopyGeometry",
    "CanopyPartials",
    "CanopyScattering",
    "LeafSpectra",
    "SoilBackscatter",
    "SoilSpectra",
    "WaterCloud",
    "absorption",
    "absorption_pro",
    "baghdadi_2016",
    "band_average",
    "band_quadrature",
    "bands_of",
    "bare_soil_model",
    "bidirectional_reflectance",
    "campbell",
    "campbell_jacobian",
    "canopy_energy",
    "canopy_fluxes",
    "canopy_geometry",
    "fcover",
    "gamma0_to_sigma0",
    "hotspot",
    "hotspot_jacobian",
    "leaf_spectra",
    "leaf_transmissivity",
    "oh_2004",
    "optical_noise_sd",
    "plate_model",
    "prosail",
    "prospect_5",
    "prospect_d",
    "prospect_pro",
    "quadrature_matrix",
    "radar_channel_db",
    "radar_channel_variance",
    "radar_log_likelihood",
    "reflectance_jacobian",
    "reflectance_under_sky",
    "sample_backscatter",
    "sample_reflectance",
    "soil_reflectance",
    "soil_reflectance_jacobian",
    "soil_spectra",
    "speckle_bias_db",
    "speckle_log_likelihood",
    "speckle_sd_db",
    "student_t_log_likelihood",
    "student_t_weight",
    "to_db",
    "to_linear",
    "two_way_attenuation",
    "under_sky",
    "verhoef",
    "virtual_bands",
    "water_cloud",
]
