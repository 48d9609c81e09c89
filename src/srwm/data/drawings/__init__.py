"""Drawings: glyphs and letters that are made here, and the normalization of ink."""
