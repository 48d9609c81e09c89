"""Drawings: rendered glyphs and letters, and the normalization of ink."""
