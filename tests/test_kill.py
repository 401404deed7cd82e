"""Nothing is ever lost: runs that are killed, and asked to stop, at any moment."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dragoman import checkpoint, settings
from dragoman.data.settings import DataSettings
from dragoman.engine import EngineSettings
from dragoman.many_domain import ManyDomain
from dragoman.systems import find_system

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}

# Takes jobs, one a line: [kind, moment, arguments of the command line]. Each is a process of its
# own that runs the real command, without the seconds in which Python loads its modules.
DRIVER = """
import json, os, signal, sys, time
from dragoman import checkpoint, cli, evaluation, training  # what a child need not load again
import torch._inductor, torchmetrics.functional.image

def die_at_write(number, after):
    # Every file goes through settle: die with half of it on the disk, or just after its rename.
    def settle(temporary, path):
        nonlocal number
        number -= 1
        if number == 0 and not after:
            with open(temporary, "r+b") as file:
                file.truncate(os.path.getsize(temporary) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        settled(temporary, path)
        if number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    settled, checkpoint.settle = checkpoint.settle, settle

print("ready", flush=True)
for line in sys.stdin:
    kind, moment, arguments = json.loads(line)
    child = os.fork()
    if not child:
        sys.stdout = open(os.devnull, "w")
        if kind in ("writing", "written"):
            die_at_write(moment, kind == "written")
        cli.main(arguments)
    if kind in ("time", "progress"):
        place = os.path.join(arguments[-1], "checkpoints")
        seen = lambda: sorted(os.listdir(place)) if os.path.isdir(place) else []
        before = seen()
        while kind == "progress" and seen() == before:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
            time.sleep(0.002)
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps(code), flush=True)
"""


RARELY = {"checkpoint_every": 50_000, "sample_every": 50_000, "log_every": 1}


def flags(knobs: dict[str, object]) -> list[str]:
    return [text for name, value in knobs.items() for text in (f"--{name}", str(value).lower())]


@pytest.fixture(scope="module")
def start():
    """Run a command line in a process that is killed after some seconds or at some write."""
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )

    assert driver.stdout
    driver.stdout.readline()

    def start(arguments: list[str], kind: str = "", moment: float = 0) -> int:
        assert driver.stdin
        assert driver.stdout
        driver.stdin.write(json.dumps([kind, moment, arguments]) + "\n")
        driver.stdin.flush()
        return json.loads(driver.stdout.readline())

    yield start
    driver.communicate(timeout=30)


@pytest.fixture(scope="module")
def knobs(tiny):
    """A run of 32 steps with checkpoints that do not coincide with the lines of its journal."""
    every = {"checkpoint_every": 4, "log_every": 3, "sample_every": 12}
    return flags({**tiny, **every, "steps": 32})


@pytest.fixture(scope="module")
def whole(start, knobs, tmp_path_factory):
    """The uninterrupted run."""
    folder = tmp_path_factory.mktemp("kill") / "whole"
    began = time.perf_counter()
    assert start(["train", "pix2pix", "--folder", str(folder), *knobs]) == 0
    return folder, time.perf_counter() - began


def leaves(tree, path=""):
    if isinstance(tree, dict | list | tuple):
        pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in pairs:
            yield from leaves(value, f"{path}/{key}")
    else:
        yield path, tree


def assert_same_run(one: Path, other: Path) -> None:
    """All that training leaves behind is equal, bit for bit; only clocks may differ."""
    states = []
    for folder in (one, other):
        newest = sorted((folder / "checkpoints").glob("step_*"))[-1]
        states.append((newest.name, dict(leaves(checkpoint.load(newest)))))
    (name, first), (name_too, second) = states
    assert name == name_too
    assert first.keys() == second.keys()
    assert sum(torch.is_tensor(value) for value in first.values()) > 50
    for path, value in first.items():
        equal = (
            torch.equal(value, second[path]) if torch.is_tensor(value) else value == second[path]
        )
        assert equal, path
    for file in ("translator/model.safetensors", "scores.json"):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file
    clocks = ("seconds", "pictures_per_second")
    journals = []
    for folder in (one, other):
        lines = map(json.loads, (folder / "losses.jsonl").read_text().splitlines())
        journals.append([{k: v for k, v in line.items() if k not in clocks} for line in lines])
    assert journals[0] == journals[1]
    samples = [sorted(p.name for p in (folder / "samples").iterdir()) for folder in (one, other)]
    assert samples[0] == samples[1]


def finish(start, folder: Path, knobs: list[str], kills: Sequence[tuple[str, float]]) -> list[int]:
    """Begin or resume once for each kill, then without one until the end; returns exit codes."""
    codes = []
    for kind, moment in [*kills, ("", 0.0)]:
        begun = (folder / "settings.yaml").exists()
        arguments = ["resume"] if begun else ["train", "pix2pix", *knobs, "--folder"]
        codes.append(start([*arguments, str(folder)], kind, moment))
    return codes


def test_killed_at_random_moments_it_ends_as_the_uninterrupted_run(start, whole, knobs, tmp_path):
    seed = random.SystemRandom().randrange(10**6)
    print(f"moments of seed {seed}")  # shown if the test fails
    folder, seconds = whole[0], min(3.0, whole[1])  # a starved machine is no reason to wait
    draw = random.Random(seed)
    # At random after the process has begun, and after it has begun to write a new checkpoint.
    kills = [("time", draw.uniform(0.05, 0.4 * seconds))]
    kills += [("progress", draw.uniform(0, 0.08 * seconds)) for _ in range(4)]
    kills += [("time", draw.uniform(0.05, 0.4 * seconds))]
    codes = finish(start, tmp_path / "run", knobs, kills)
    assert codes[-1] == 0
    assert set(codes[:-1]) <= {-signal.SIGKILL, 0}
    assert codes.count(-signal.SIGKILL) >= 3
    assert_same_run(folder, tmp_path / "run")


def test_killed_while_it_writes_it_ends_as_the_uninterrupted_run(start, whole, knobs, tmp_path):
    # First come settings, facts, settings; then for each checkpoint the translator's 3 files, if
    # it is the best so far, and the checkpoint itself.
    kills = [
        *[("writing", moment) for moment in (2, 5, 7, 11)],
        *[("written", moment) for moment in (3, 1, 8)],
        ("writing", 5),
    ]
    codes = finish(start, tmp_path / "run", knobs, kills)
    assert codes == [-signal.SIGKILL] * len(kills) + [0]
    assert_same_run(whole[0], tmp_path / "run")
    rest = [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()]
    assert all(re.fullmatch(r"step_\d{8}\.safetensors", name) for name in rest), rest


def labelled(folder: Path) -> str:
    """Pictures of two classes in a folder each."""
    for split, count in (("train", 6), ("val", 2), ("test", 2)):
        for value, name in ((60, "dim"), (190, "light")):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.random.default_rng([value, number]).normal(value, 20, (32, 32, 3))
                picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                picture.save(folder / split / name / f"{split}{number}.png")
    return str(folder)


SHARED: dict[str, Any] = {
    "depth": 1,
    "scales": 1,
    "discriminator_layers": 2,
    "discriminator_width": 4,
}
SHARED |= {"schedule": "tenths", "size": 32}

# Histories of fakes, moving averages, weights and rates that change: what pix2pix has not.
STATEFUL: dict[str, dict[str, Any]] = {
    "cyclegan": {"history": 3, "lambda_identity": 0},
    "distribution_matching": {"history": 3},
    "discogan": {"discriminator_width": 4, "rate_steps": 3},
    "cut": {"history": 3, "patches": 8, "head_width": 8, "size": 32},
    "unit": SHARED,
    "munit": {**SHARED, "style": 4, "style_depth": 2, "mapping_width": 8},
    "funit": {
        "depth": 1,
        "class_depth": 2,
        "latent": 4,
        "mapping_width": 8,
        "size": 32,
        "discriminator_depth": 2,
        "discriminator_width": 4,
        "max_width": 8,
    },
    "stargan": {
        "attention": True,
        "attention_warmup": 0.9,
        "n_critic": 2,
        "size": 32,
        "discriminator_layers": 2,
        "discriminator_width": 4,
    },
    "starganv2": {"hidden": 8, "latent": 4, "style": 4, "max_width": 8, "size": 32},
}


@pytest.mark.parametrize("system", STATEFUL)
def test_systems_with_more_state_end_as_if_never_killed(start, tiny, tmp_path, system):
    known = [*settings.knobs([find_system(system).Settings, DataSettings, EngineSettings]), "live"]
    values = {key: value for key, value in tiny.items() if key in known}
    values |= {**STATEFUL[system], "steps": 6, "batch": 2, "checkpoint_every": 2, "average": 0.9}
    if issubclass(find_system(system), ManyDomain):
        values["data"] = labelled(tmp_path / "data")
    begin = ["train", system, *flags(values), "--folder"]
    assert start([*begin, str(tmp_path / "whole")]) == 0
    pieces = str(tmp_path / "pieces")
    assert start([*begin, pieces], "written", 8) == -signal.SIGKILL
    assert (tmp_path / "pieces" / "checkpoints").exists(), "it was killed too early to matter"
    assert start(["resume", pieces]) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "pieces")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_saves_and_says_how_to_go_on(tiny, tmp_path, number, start, whole):
    folder = tmp_path / "run"
    knobs = flags({**tiny, "steps": 100_000, **RARELY})
    command = [sys.executable, "-m", "dragoman", "train", "pix2pix", "--folder", str(folder)]
    process = subprocess.Popen(
        [*command, *knobs], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    journal = folder / "losses.jsonl"
    for _ in range(2400):
        if process.poll() is not None or (journal.exists() and journal.stat().st_size > 1000):
            break
        time.sleep(0.05)
    process.send_signal(number)
    told = process.communicate(timeout=200)[1]
    assert process.returncode == 128 + number, told
    found = re.search(
        r"dragoman: stopped at step (\d+), everything is saved; go on with: "
        r"dragoman resume (\S+)\n$",
        told,
    )
    assert found, told
    step = int(found[1])
    assert found[2] == str(folder)
    [saved] = (folder / "checkpoints").glob("*")
    assert saved.name == f"step_{step:08d}.safetensors"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, step + 1))
    assert start(["resume", str(folder), "--steps", str(step + 2)]) == 0
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [line["step"] for line in lines if "terms" in line] == list(range(1, step + 3))
    if number == signal.SIGINT:  # what follows is the same for both
        return
    knobs = flags({**tiny, "steps": step + 2, **RARELY})
    other = tmp_path / "other"
    assert start(["train", "pix2pix", "--folder", str(other), *knobs]) == 0
    assert_same_run(other, folder)
