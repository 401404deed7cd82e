"""Checkpoints: any state back bit for bit, damage noticed, nothing old lost, nothing ever run."""

import errno
import json
import os
import pickle
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from dragoman import checkpoint
from dragoman.errors import FileError
from dragoman.run import Run, read_json

STATE: dict[Any, Any] = {
    "step": 3,
    "rate": 0.1,
    "none": None,
    "yes": True,
    "list": [1, "two", {"three": torch.arange(3)}],
    "tuple": (0.5, 0.999),
    5: {"int key": torch.ones(2, 2)},
    "half": torch.tensor([1.5, -2.25], dtype=torch.bfloat16),
    "bytes": torch.tensor([0, 255], dtype=torch.uint8),
    "flag": torch.tensor(True),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "empty": torch.empty(0),
    "a.b": torch.zeros(1),
    "a": {"b": torch.ones(1)},
    "5": {"int key": torch.zeros(2, 2)},
    "hollow": {"dict": {}, "list": [], "tuple": ()},
}


def same(one, other):
    if torch.is_tensor(one):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        bits = [t.flatten().view(torch.uint8) for t in (one, other)]
        assert torch.equal(*bits)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert type(one) is type(other)
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b)
    else:
        assert type(one) is type(other)
        assert one == other or one != one


def test_a_state_comes_back_as_it_was(tmp_path):
    checkpoint.save(tmp_path / "new" / "x", STATE)
    same(STATE, checkpoint.load(tmp_path / "new" / "x"))
    assert os.listdir(tmp_path / "new") == ["x"], "no temporary file stays"


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
trees = st.recursive(
    plain | st.lists(st.floats(width=32), max_size=3).map(torch.tensor),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=40)
@given(state=st.dictionaries(st.text(max_size=5), trees, max_size=4))
def test_any_state_comes_back(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("state") / "x"
    checkpoint.save(path, state)
    same(state, checkpoint.load(path))


def test_what_was_read_does_not_change_with_the_file(tmp_path):
    checkpoint.save(tmp_path / "x", {"ones": torch.ones(99)})
    again = checkpoint.load(tmp_path / "x")
    with (tmp_path / "x").open("r+b") as file:
        file.truncate(8)
    assert torch.equal(again["ones"], torch.ones(99))


def test_tied_and_sliced_tensors_are_kept_apart(tmp_path):
    whole = torch.arange(6.0).view(2, 3)
    checkpoint.save(tmp_path / "x", {"one": whole, "same": whole, "slice": whole.T[1:]})
    again = checkpoint.load(tmp_path / "x")
    assert torch.equal(again["same"], whole)
    assert torch.equal(again["slice"], whole.T[1:])


def test_what_cannot_be_kept_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"cannot hold a\.0\.b, a set"):
        checkpoint.save(tmp_path / "x", {"a": [{"b": {1}}]})
    assert not (tmp_path / "x").exists()


def _truncate(path, size):
    path.write_bytes(path.read_bytes()[:size])


def _flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 16
    path.write_bytes(content)


def _other_state(path, state):
    save_file({"t": torch.ones(1)}, path, metadata={"state": state, "check": "00000000"})


def _forged(path, state):
    check = checkpoint._check_sum(state, {"t": torch.ones(1)})
    save_file({"t": torch.ones(1)}, path, metadata={"state": state, "check": check})


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: _truncate(p, 0),
        lambda p: _truncate(p, 7),
        lambda p: _truncate(p, 200),
        lambda p: _truncate(p, p.stat().st_size - 1),
        lambda p: _flip(p, -3),
        lambda p: _flip(p, 30),
        lambda p: p.write_bytes(p.read_bytes()[:-40] + bytes(40)),
        lambda p: p.write_bytes(pickle.dumps({"a": 1})),
        lambda p: torch.save({"a": 1}, p),
        lambda p: p.write_bytes(struct.pack("<Q", 1 << 60) + b"{}"),
        lambda p: p.write_bytes(b"\xff" * 64),
        lambda p: save_file({"t": torch.ones(1)}, p),
        lambda p: _other_state(p, '{"dict": []}'),
        lambda p: _forged(p, "5"),
        lambda p: _forged(p, '{"list": []}'),
        lambda p: _forged(p, '{"tensor": "other"}'),
        lambda p: _forged(p, '{"tensor": []}'),
        lambda p: _forged(p, '{"dict": [["a"]]}'),
        lambda p: _forged(p, '{"dict": [[{}, 1]]}'),
        lambda p: _forged(p, '{"dict": 3}'),
        lambda p: _forged(p, '{"dict": [], "list": []}'),
        lambda p: _forged(p, '{"x": {}}'),
        lambda p: _forged(p, "[" * 100_000),
        lambda p: _forged(p, '{"list":[' * 3000 + "]}" * 3000),
        lambda p: (p.unlink(), p.mkdir()),
    ],
)
def test_damaged_and_hostile_files_are_refused(tmp_path, damage, monkeypatch):
    path = tmp_path / "x"
    checkpoint.save(path, STATE)
    damage(path)
    monkeypatch.setattr(pickle, "Unpickler", None)
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(FileError, match=r"x is damaged or of another kind; use an older one"):
        checkpoint.load(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileError, match="there is no checkpoint"):
        checkpoint.load(tmp_path / "x")


def _full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["dragoman.checkpoint.save_file", "os.fsync", "os.replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, place):
    path = tmp_path / "x"
    checkpoint.save(path, {"old": 1})
    with monkeypatch.context() as patch:
        patch.setattr(place, _full)
        with pytest.raises(FileError, match=r"cannot write .*x: .*No space left.*free some space"):
            checkpoint.save(path, STATE)
        if place.startswith("os"):
            with pytest.raises(FileError, match="free some space"):
                checkpoint.write_text(tmp_path / "text", "new")
    assert checkpoint.load(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["x"]


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot write"):
        checkpoint.save(tmp_path / "file" / "x", STATE)
    with pytest.raises(FileError, match="cannot write"):
        checkpoint.write_text(tmp_path / "file" / "x", "text")


def test_files_are_readable_as_the_umask_allows(tmp_path):
    checkpoint.write_text(tmp_path / "x", "text")
    (tmp_path / "plain").write_text("text")
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_every_random_generator_goes_back():
    def draw():
        return (
            torch.rand(3).tolist(),
            random.random(),
            random.gauss(0, 1),
            np.random.rand(2).tolist(),  # noqa: NPY002
            np.random.randn(3).tolist(),  # noqa: NPY002
        )

    checkpoint.seed_all(4)
    first = draw()
    state = checkpoint.random_state()
    second = draw()
    checkpoint.set_random_state(state)
    assert draw() == second
    checkpoint.seed_all(4)
    assert draw() == first
    assert first != second


def test_random_states_survive_the_file(tmp_path):
    checkpoint.seed_all(1)
    np.random.randn()  # noqa: NPY002 one normal number is kept for the next call
    random.gauss(0, 1)
    checkpoint.save(tmp_path / "x", checkpoint.random_state())
    wanted = (torch.rand(1).item(), random.gauss(0, 1), np.random.randn())  # noqa: NPY002
    checkpoint.set_random_state(checkpoint.load(tmp_path / "x"))
    assert (torch.rand(1).item(), random.gauss(0, 1), np.random.randn()) == wanted  # noqa: NPY002


def steps(run: Run) -> list[int]:
    return [int(path.stem.removeprefix("step_")) for path in run.checkpoints()]


def test_the_last_few_and_the_best_are_kept(tmp_path):
    run = Run(tmp_path)
    best = {1: 1, 2: 2, 3: 2, 4: 2, 5: 2, 6: 6, 7: 6}
    seen = []
    for step, good in best.items():
        run.save_checkpoint(step, {"best": {"step": good}}, keep=2)
        seen.append(steps(run))
    assert seen == [[1], [1, 2], [2, 3], [2, 3, 4], [2, 4, 5], [5, 6], [6, 7]]


def test_what_is_no_checkpoint_is_left_alone(tmp_path):
    run = Run(tmp_path)
    run.save_checkpoint(1, {}, keep=1)
    others = ["step_1.safetensors", "step_00000001.safetensors.mine", "notes.txt"]
    for name in others:
        (tmp_path / "checkpoints" / name).write_text("")
    (tmp_path / "checkpoints" / ".step_00000002.safetensors.torn").write_text("")
    run.save_checkpoint(2, {}, keep=1)
    assert sorted(os.listdir(tmp_path / "checkpoints")) == sorted(
        [*others, "step_00000002.safetensors"]
    )


def test_a_damaged_newest_checkpoint_falls_back_and_says_so(tmp_path):
    run = Run(tmp_path)
    for step in (1, 2, 3):
        run.save_checkpoint(step, {"step": step}, keep=9)
    said: list[str] = []
    assert run.load_checkpoint(said.append) == {"step": 3}
    assert said == []
    _flip(run.checkpoints()[-1], -1)
    _truncate(run.checkpoints()[-2], 50)
    assert run.load_checkpoint(said.append) == {"step": 1}
    assert len(said) == 1
    assert "step_00000003.safetensors is damaged; going on from step_00000001" in said[0]
    # The run goes on: what is written now must not make room for what is damaged.
    run.save_checkpoint(2, {"step": 2}, keep=1)
    assert run.load_checkpoint(said.append) == {"step": 2}
    run.save_checkpoint(3, {"step": 3}, keep=1)
    assert run.load_checkpoint(said.append) == {"step": 3}
    assert steps(run) == [3]


def test_only_damaged_checkpoints_are_an_error_with_a_remedy(tmp_path):
    run = Run(tmp_path)
    assert run.load_checkpoint() is None
    for step in (1, 2):
        run.save_checkpoint(step, {}, keep=9)
        _truncate(run.checkpoints()[-1], 20)
    with pytest.raises(FileError, match=r"all 2 checkpoints of .* are damaged; begin anew with: "):
        run.load_checkpoint()


@pytest.mark.parametrize("text", ["", "{", "[1]", "5", "[" * 100_000, "\xff", '{"a": 1'])
def test_a_damaged_json_file_names_itself_and_the_remedy(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(FileError, match=r"x\.json is damaged; copy it again"):
        read_json(path, "copy it again")


def test_an_endless_json_file_is_not_read():
    with pytest.raises(FileError, match="is too large"):
        read_json(Path("/dev/zero"))


def test_json_is_written_whole(tmp_path):
    run = Run(tmp_path)
    run.write_json("x.json", {"a": [1, "ü"]})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [1, "ü"]}
    with pytest.raises(FileError, match=r"there is no .*scores\.json; make it with 'dragoman eva"):
        _ = run.scores
