"""The systems by name: one paper, one file, one line."""

from importlib import import_module
from typing import TYPE_CHECKING

from dragoman.errors import choose

if TYPE_CHECKING:
    from dragoman.system import System

SYSTEMS = {
    "best_of_k": "BestOfK",
    "context_encoder": "ContextEncoder",
    "crn": "CRN",
    "pix2pix": "Pix2Pix",
    "pix2pixhd": "Pix2PixHD",
    "regression": "Regression",
    "spade": "SPADE",
    "srgan": "SRGAN",
    "esrgan": "ESRGAN",
    "distribution_matching": "DistributionMatching",
    "cyclegan": "CycleGAN",
    "discogan": "DiscoGAN",
    "cut": "CUT",
    "unit": "UNIT",
    "munit": "MUNIT",
    "stargan": "StarGAN",
    "starganv2": "StarGANv2",
    "funit": "FUNIT",
}


def find_system(name: str) -> "type[System]":
    """Return the class of the named system; loads its file (and torch) only now."""
    choose("system", name, SYSTEMS)
    return getattr(import_module(f"dragoman.systems.{name}"), SYSTEMS[name])
