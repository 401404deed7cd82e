"""Checks of our networks, losses and systems against numbers of the official implementations."""
