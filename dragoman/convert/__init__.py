"""Brings official weights, under their original names, into the networks of this package."""
