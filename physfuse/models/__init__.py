"""Learned parts: encoders, residuals, noise, priors, model cards and shipped weights.

The layer above :mod:`physfuse.inference`. It holds no model yet: the physics branch needs none.
"""
