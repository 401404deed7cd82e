"""Translating files: our speed as a ratio to a plain loop, and the memory of a very large picture.

python benchmarks/translation.py [--count 60] [--size 256] [--rounds 5] [--large 8192] [--out FILE]

The plain loop reads a picture with Pillow, calls the translator and saves the result with Pillow,
one after the other; "own loop" does the same with our reader and writer, so that its ratio shows
what overlapping alone gains. All run in one process, in turns, on the same pictures with the
networks of recipes/earth_pix2pix.yaml; ratios are of medians. What the parts take alone is told
beside, with the ratio to the own loop that the cores would allow if nothing else cost anything.
`--large` runs the command in a process of its own and tells its peak memory.
"""

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dragoman.data import open_data
from dragoman.data.raster import read_raster
from dragoman.data.settings import DataSettings
from dragoman.data.single import encoded
from dragoman.data.writing import write_raster
from dragoman.pipeline import Translator
from dragoman.report.machine import machine
from dragoman.settings import build, own_values, read_yaml
from dragoman.system import Facts
from dragoman.systems import find_system
from dragoman.translating import translate

RECIPE = Path(__file__).parent.parent / "recipes" / "earth_pix2pix.yaml"
SUFFIXES = (".png", ".jpg", ".tif")


def recipe_translator(device: str = "cpu", **over: Any) -> Translator:
    """A translator with the networks of the recipe and random weights."""
    torch.manual_seed(0)
    kind = find_system("pix2pix")
    settings = build(kind.Settings, own_values(kind.Settings, read_yaml(RECIPE)) | over)
    facts = Facts({"a": 3, "b": 3}, (64, 64))
    domain = {"name": "photo", "kind": "photo", "channels": 3}
    config = {
        "library": "dragoman",
        "version": "0",
        "system": "pix2pix",
        "settings": vars(settings),
        "facts": vars(facts),
        "domains": {"a": domain, "b": domain},
        "data": "earth",
        "training": {},
        "credits": "",
    }
    return Translator(kind(settings, facts), config, device)


def write_pictures(folder: Path, count: int, size: int, suffix: str) -> list[Path]:
    """Write shaded relief of the Earth, cut or enlarged to a size."""
    data = open_data(DataSettings("earth256:relief,satellite"))
    rows = [n * data.counts["train"] // count for n in range(count)]
    shown = data.show("a", data.rows("train", rows)["a"])
    paths = []
    for number, pixels in enumerate(shown):
        picture = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)
        paths.append(folder / f"{number:04}{suffix}")
        write_raster(paths[-1], np.asarray(picture))
    return paths


def plain_loop(translator: Translator, paths: list[Path], out: Path) -> None:
    """What one would write by hand."""
    options: dict[str, Any] = {".jpg": {"quality": 95, "subsampling": 0}}
    for path in paths:
        with Image.open(path) as picture:
            made = translator(picture.convert("RGB"))
        made.save(out / path.name, **options.get(path.suffix, {}))


def own_loop(translator: Translator, paths: list[Path], out: Path) -> None:
    """The same with our reader and writer."""
    for path in paths:
        write_raster(out / path.name, translator(path))


def our_way(translator: Translator, folder: Path, out: Path) -> None:
    """The command's work, without its start."""
    with contextlib.redirect_stderr(io.StringIO()):
        translate(translator, folder, out, again=True, device="cpu")


def seconds(work: Callable[[], Any], times: int = 1) -> float:
    """Seconds that work takes once, on average."""
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times


def parts(translator: Translator, path: Path, out: Path) -> dict[str, float]:
    """Milliseconds of each part alone: the network on all cores and on one."""
    threads = torch.get_num_threads()
    raster = read_raster(path)
    tensor = encoded(translator.source, raster.pixels)
    work = {
        "read": lambda: read_raster(path),
        "network, all cores": lambda: translator.translate(tensor),
        "network, one core": lambda: translator.translate(tensor),
        "write": lambda: write_raster(out / path.name, raster.pixels),
    }
    found = {}
    for name, one in work.items():
        torch.set_num_threads(1 if name.endswith("one core") else threads)
        one()
        found[name] = 1000 * min(seconds(one) for _ in range(20))
    torch.set_num_threads(threads)
    return found


def compare(suffix: str, count: int, size: int, rounds: int) -> dict[str, Any]:
    """Time both ways in turns and print what comes out."""
    translator = recipe_translator()
    with tempfile.TemporaryDirectory() as place:
        source, out = Path(place, "in"), Path(place, "out")
        source.mkdir()
        out.mkdir()
        paths = write_pictures(source, count, size, suffix)
        plain_loop(translator, paths[:5], out)
        our_way(translator, source, out)
        ways = {
            "plain loop": lambda: plain_loop(translator, paths, out),
            "own loop": lambda: own_loop(translator, paths, out),
            "ours": lambda: our_way(translator, source, out),
        }
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                speeds[name].append(count / seconds(way))
        alone = parts(translator, paths[0], out)
    cores = torch.get_num_threads()
    codec = alone["read"] + alone["write"]
    ideal = cores * (codec + alone["network, all cores"]) / (codec + alone["network, one core"])
    median = {name: statistics.median(found) for name, found in speeds.items()}
    ratios = {name: median["ours"] / median[name] for name in ("plain loop", "own loop")}
    told = ", ".join(f"{name} {speed:.1f}" for name, speed in median.items())
    print(f"{suffix[1:]}: {told} pictures/s")
    print("  " + ", ".join(f"{ratio:.2f} x the {name}" for name, ratio in ratios.items()), end="")
    print(f" (at most {ideal:.2f})")
    print("  alone: " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in alone.items()))
    return {"pictures_per_second": speeds, "ratios": ratios, "ideal": ideal, "parts_ms": alone}


def large(side: int) -> dict[str, Any]:
    """Translate a picture of side x side by the command; return seconds and peak megabytes."""
    with tempfile.TemporaryDirectory() as place:
        folder = recipe_translator().save(Path(place, "saved"))
        make = [sys.executable, "-c", _MAKE, str(Path(place, "in.tif")), str(side)]
        subprocess.run(make, check=True)
        found = {}
        for place_in, place_out in [("in.tif", "out.tif"), ("out.tif", "out.png")]:
            command = [sys.executable, "-c", _WATCHED, str(folder)]
            arguments = [str(Path(place, place_in)), str(Path(place, place_out))]
            began = time.perf_counter()
            done = subprocess.run(
                [*command, *arguments], check=True, capture_output=True, text=True
            )
            took = time.perf_counter() - began
            peak = int(done.stdout.split()[-1]) / 1024
            print(f"{side} x {side} px, {place_in} to {place_out}: {took:.0f} s, {peak:.0f} MB")
            found[f"{place_in} to {place_out}"] = {"seconds": took, "peak_mb": peak}
    return found


# The peak that the system reports of a child includes its parent's: the picture is made in a
# process of its own, so that this one stays small.
_MAKE = """
import sys
import numpy as np, tifffile
side = int(sys.argv[2])
line = np.arange(side, dtype=np.float32)
waves = (127 + 60 * np.sin(line / 37)[None] + 60 * np.cos(line / 53)[:, None]).astype(np.uint8)
picture = np.stack([waves, waves[::-1], waves.T], -1)
tifffile.imwrite(sys.argv[1], picture, photometric="rgb", tile=(256, 256))
"""
_WATCHED = """
import resource, sys
from dragoman.cli import main
try:
    main(["translate", *sys.argv[1:], "--device", "cpu"])
except SystemExit as end:
    assert end.code == 0, end.code
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main() -> None:
    """Measure and print; also write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--formats", nargs="*", default=list(SUFFIXES))
    parser.add_argument("--large", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    print(f"{machine()}, torch {torch.__version__}, {options.count} pictures of {options.size} px")
    result: dict[str, Any] = {"machine": machine(), "size": options.size}
    for suffix in options.formats:
        result[suffix] = compare(suffix, options.count, options.size, options.rounds)
    if options.large:
        result["large"] = large(options.large)
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
