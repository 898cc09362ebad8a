"""Fewer bits: schemes as rows, calibration, packing. Knows no compiler and no model."""
