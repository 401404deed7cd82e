"""Two processes under torchrun: equal to one with the double batch, and never drifting apart."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from synthetic import make, picture_batch

import dragoman
from dragoman import checkpoint, processes
from dragoman.engine import Engine, EngineSettings
from dragoman.errors import FileError
from dragoman.settings import build

HERE = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
STEPS = 3

# What each of the two processes runs.
SCRIPT = """
import hashlib, json, os, signal, sys
sys.path.insert(0, sys.argv[1])
import torch
from synthetic import make
from test_processes import STEPS, exact, trained
from dragoman import checkpoint, processes
from dragoman.training import Interrupted, resume, train

out, knobs = sys.argv[2], json.loads(sys.argv[3])
processes.join()
rank = processes.rank()
gradients = {n: p.grad for n, p in trained(exact(), 1).named_parameters()}
double = dict(trained(exact().double(), STEPS).named_parameters())

digests, draws = [], []
def note(system):
    values = [t for t in system.state_dict().values()]
    whole = b"".join(t.detach().contiguous().numpy().tobytes() for t in values)
    digests.append(processes.gather(hashlib.sha256(whole).hexdigest()))
    draws.append(processes.gather(torch.get_rng_state().tolist()))
system = make("pix2pix", norm="batch", dropout=0.5, generator="resnet", blocks=1)
torch.manual_seed(rank)
trained(system, STEPS, note)

first = processes.from_first(rank)
any_ = processes.any_process(rank == 1, torch.device("cpu"))
if rank == 0:
    checkpoint.save(__import__("pathlib").Path(out) / "state", {
        "gradients": gradients, "double": double, "digests": digests, "draws": draws,
        "first": first, "any": any_, "world": processes.world(),
    })

# A training of which the second process is asked to stop, and its continuation.
from dragoman.engine import Engine
step = Engine.take_step
def stopping(self, *arguments):
    step(self, *arguments)
    if rank == 1 and self.done == 3:
        os.kill(os.getpid(), signal.SIGTERM)
Engine.take_step = stopping
try:
    train("pix2pix", folder=out + "/cut", **knobs)
except Interrupted as error:
    print(f"rank {rank}: {error}", flush=True)
Engine.take_step = step
resume(out + "/cut")
"""


def exact():
    """A system in which nothing depends on which pictures share a batch."""
    return make("pix2pix", norm="instance", dropout=0.0)


def trained(system, steps, note=None):
    """Train on this process's share of batches of four pictures."""
    engine = Engine(system, build(EngineSettings, {"precision": "fp32", "device": "cpu"}), steps)
    count = 4 // processes.world()
    kind = next(system.parameters()).dtype

    def loader(start):
        for number in range(start, steps + 1):
            own = slice(processes.rank() * count, (processes.rank() + 1) * count)
            batch = {k: v[own] for k, v in picture_batch(number).items()}
            yield {k: v.to(kind) if v.is_floating_point() else v for k, v in batch.items()}

    for _ in engine.run(loader):
        if note:
            note(system)
    return system


@pytest.fixture(scope="module")
def knobs(tiny):
    return {**tiny, "batch": 2, "steps": 6, "checkpoint_every": 4, "log_every": 2}


@pytest.fixture(scope="module")
def launched(knobs, tmp_path_factory):
    """Both launches at once: the command line's training, and the script above."""
    out = tmp_path_factory.mktemp("processes")
    flags = [t for name, value in knobs.items() for t in (f"--{name}", str(value).lower())]
    (out / "script.py").write_text(SCRIPT)
    whole = [*TORCHRUN, "-m", "dragoman", "train", "pix2pix", "--folder", str(out / "whole")]
    script = [*TORCHRUN, str(out / "script.py"), str(HERE), str(out), json.dumps(knobs)]
    started = [
        subprocess.Popen(
            command,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in ([*whole, *flags], script)
    ]
    try:
        told = [process.communicate(timeout=240)[0] for process in started]
    finally:
        for process in started:
            process.terminate()  # torchrun then ends those that it has started
    assert [process.returncode for process in started] == [0, 0], "\n".join(told)
    return out, told


@pytest.fixture(scope="module")
def state(launched):
    return checkpoint.load(launched[0] / "state")


def distance(one, other):
    return ((one - other).norm() / other.norm()).item()


def test_gradients_equal_those_of_the_double_batch(state):
    alone = trained(exact(), 1)
    assert state["gradients"].keys() == dict(alone.named_parameters()).keys()
    for name, network in alone.named_children():  # a bias alone may be all rounding error
        pairs = [
            (state["gradients"][f"{name}.{n}"].flatten(), p.grad.flatten())
            for n, p in network.named_parameters()
        ]
        joined, own = (torch.cat(side) for side in zip(*pairs, strict=True))
        assert distance(joined, own) < 1e-5, name
        for one, other in pairs:
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5 * own.norm().item())


def test_parameters_equal_those_of_the_double_batch_in_float64(state):
    alone = trained(exact().double(), STEPS)
    for name, parameter in alone.named_parameters():
        # Before an instance norm, a bias has no gradient but for rounding: hence the absolute 1e-9.
        torch.testing.assert_close(
            state["double"][name], parameter.detach(), rtol=1e-9, atol=1e-9, msg=name
        )


def test_the_processes_never_drift_apart(state):
    assert len(state["digests"]) == STEPS
    assert all(one == other for one, other in state["digests"])
    assert len({one for one, _ in state["digests"]}) == STEPS, "nothing was learned"
    assert all(one != other for one, other in state["draws"]), "each draws its own noise"
    assert state["draws"][0] != state["draws"][1], "there was no noise"


def test_messages_between_processes(state):
    assert (state["first"], state["any"], state["world"]) == (0, True, 2)


def test_a_cut_training_of_two_equals_the_whole_one(launched):
    out, told = launched
    assert (out / "whole" / "report.html").exists()
    assert "report: " in told[0]
    for rank in (0, 1):
        assert f"rank {rank}: stopped at step 3, everything is saved; go on with: " in told[1]
    newest = "step_00000006.safetensors"
    one, other = (checkpoint.load(out / n / "checkpoints" / newest) for n in ("whole", "cut"))
    assert len(one["engine"]["processes"]) == 2
    for name, value in one["engine"]["system"].items():
        assert torch.equal(value, other["engine"]["system"][name]), name
    for name, value in one["engine"]["average"]["generator"].items():
        assert torch.equal(value, other["engine"]["average"]["generator"][name]), name
    randoms = [[p["random"]["torch"] for p in s["engine"]["processes"]] for s in (one, other)]
    assert all(torch.equal(a, b) for a, b in zip(*randoms, strict=True))
    assert not torch.equal(*randoms[0])
    assert one["best"] == other["best"]


def test_the_journal_counts_the_pictures_of_both(launched):
    lines = [json.loads(t) for t in (launched[0] / "whole" / "losses.jsonl").open()]
    steps = [line["step"] for line in lines if "terms" in line]
    assert steps == [2, 4, 6]
    for line in lines:
        if "terms" in line and line["step"] == 6:
            seconds = line["seconds"] - lines[[x["step"] for x in lines].index(4)]["seconds"]
            assert line["pictures_per_second"] * seconds == pytest.approx(8, rel=0.05)


def test_one_process_may_not_go_on_for_two(launched):
    with pytest.raises(FileError, match=r"torchrun --nproc_per_node 2 -m dragoman resume"):
        dragoman.resume(launched[0] / "whole")
