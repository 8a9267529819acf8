"""Experiments side by side, on one page."""
