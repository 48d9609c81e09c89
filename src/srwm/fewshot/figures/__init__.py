"""Figures of trained runs."""
