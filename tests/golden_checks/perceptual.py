"""LPIPS gives the official distances, layer by layer."""

from pathlib import Path

import torch
from torch import Tensor

from dragoman.metrics.lpips import LPIPS
from golden_checks.fixture import Fixture, Unsupported

VGG = Path(__file__).parents[3] / "shared/weights/vgg16_features.safetensors"
RELATIVE, ABSOLUTE = 1e-4, 1e-5  # the headers' tolerance of distances
GRADIENT = 1e-4


def compare(fixture: Fixture, key: str, ours: Tensor) -> None:
    """Allow an error of either kind in every number."""
    theirs = fixture.tensors[key].double().flatten()
    fixture.compared.add(key)
    error = (ours.detach().double().flatten() - theirs).abs()
    if not bool((error <= torch.clamp(RELATIVE * theirs.abs(), min=ABSOLUTE)).all()):
        fixture.faults.append(f"{key}: off by {error.max().item():.1e}")


def pair_of(fixture: Fixture, name: str) -> tuple[Tensor, Tensor]:
    """The two pictures of a name, from uint8 to [-1, 1]."""
    if f"input/{name}/0" in fixture.tensors:
        keys = (f"input/{name}/0", f"input/{name}/1")
    else:
        keys = ("input/ref", f"input/{name}")
    first, second = (fixture.tensors[key].float() / 127.5 - 1 for key in keys)
    return first, second


def check_lpips(fixture: Fixture) -> None:
    """Every stored distance, summand, map and gradient; VGG where its weights are at hand."""
    results = [key for key in fixture.tensors if key.startswith(("output/", "grad/"))]
    lacking = False
    for backbone in ("alex", "vgg"):
        mine = [key for key in results if key.split("/")[1].split("_")[0] == backbone]
        if not mine:
            continue
        if backbone == "vgg" and not VGG.exists():
            lacking = True
            continue
        distance = LPIPS(backbone, vgg_file=VGG if backbone == "vgg" else None)
        for key in mine:
            check_result(fixture, distance, key)
    if lacking:
        raise Unsupported("the weights of VGG16 are not here (what needs AlexNet agrees)")


def check_result(fixture: Fixture, distance: LPIPS, key: str) -> None:
    """Compare one stored tensor."""
    kind, variant, name = key.split("/")[:3]
    x, y = pair_of(fixture, name)
    if kind == "grad":
        x.requires_grad_(True)
        distance(x, y).sum().backward()
        assert x.grad is not None
        fixture.compare(key, x.grad, tolerance=GRADIENT)
    elif variant.endswith("_spatial"):
        compare(fixture, key, distance.map(x, y))
    elif key.endswith("/layers"):
        compare(fixture, key, distance.layers(x, y))
    else:
        compare(fixture, key, distance(x, y))
