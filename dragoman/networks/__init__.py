"""Architectures: what is learned; no file here knows a loss."""
