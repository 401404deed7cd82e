"""The translator: any kind and size of picture in, the same out; no file can do harm."""

import builtins
import json
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from noisy import COLOUR, GREY, MAP, noisy, photograph
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

import dragoman
from dragoman.errors import DataError, FileError, SettingsError
from dragoman.pipeline import load, pad


@pytest.fixture(scope="module")
def translator():
    return noisy()


SIZES = [(1, 1), (31, 47), (100, 64), (32, 32), (3, 200)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("generator", ["resnet", "unet"])
def test_any_size_comes_back_in_its_kind(width, height, generator):
    translator = noisy(generator=generator)
    array = photograph(width, height)
    made = translator(array)
    assert isinstance(made, np.ndarray)
    assert (made.shape, made.dtype) == (array.shape, np.uint8)
    picture = translator(Image.fromarray(array))
    assert isinstance(picture, Image.Image)
    assert (picture.size, picture.mode) == ((width, height), "RGB")
    assert np.array_equal(np.asarray(picture), made)
    tensor = torch.from_numpy(array / np.float32(127.5) - 1).permute(2, 0, 1)
    one, batch = translator(tensor), translator(tensor[None])
    assert isinstance(one, Tensor)
    assert isinstance(batch, Tensor)
    assert (one.shape, batch.shape) == (tensor.shape, tensor[None].shape)
    assert one.dtype == torch.float32
    assert torch.equal(one, batch[0])
    assert one.abs().max() <= 1
    levels = ((one + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert np.array_equal(levels, made)


@pytest.mark.parametrize(
    ("a", "b", "mode"), [(COLOUR, GREY, "L"), (GREY, COLOUR, "RGB"), (GREY, GREY, "L")]
)
def test_grey_and_colour(a, b, mode):
    translator = noisy(a, b)
    array = photograph(20, 12, a["channels"])
    made = translator(Image.fromarray(array))
    assert isinstance(made, Image.Image)
    assert (made.mode, made.size) == (mode, (20, 12))
    assert np.array_equal(np.asarray(made), translator(array))
    other = Image.fromarray(photograph(20, 12, 4 - a["channels"]))
    assert translator(other).mode == mode, "PIL knows how to make grey of colour"


def test_label_maps_hold_class_numbers():
    there, back = noisy(MAP, COLOUR), noisy(COLOUR, MAP)
    numbers = np.arange(20 * 12, dtype=np.int64).reshape(12, 20) % 4
    assert there(numbers).shape == (12, 20, 3)
    picture = Image.fromarray(numbers.astype(np.uint8))
    assert np.array_equal(np.asarray(there(picture)), there(numbers))
    made = back(photograph(20, 12))
    assert isinstance(made, np.ndarray)
    assert (made.shape, made.dtype) == ((12, 20), np.uint8)
    assert set(np.unique(made)) <= {0, 1, 2, 3}
    with pytest.raises(DataError, match="holds classes 0 to 3, this one has 9"):
        there(np.full((4, 4), 9))
    with pytest.raises(DataError, match="one class number a pixel, this picture is RGB"):
        there(Image.fromarray(photograph(4, 4)))


def test_padding_is_mirrored_and_cropped_again():
    ramp = torch.arange(3.0).expand(1, 1, 2, 3)
    padded = pad(ramp, stride=4, least=8)
    assert padded[0, 0, 0].tolist() == [0, 1, 2, 2, 1, 0, 0, 1]
    assert padded.shape == (1, 1, 8, 8)
    assert pad(ramp, stride=1, least=1) is not None
    assert torch.equal(pad(ramp, stride=1, least=1), ramp)
    translator = noisy(at_test="eval", norm="none", dropout=0.0)
    whole = torch.rand(3, 64, 64) * 2 - 1
    made = translator(whole[:, :37, :41])
    mirrored = pad(whole[None, :, :37, :41], 4, 32)
    assert torch.equal(made, translator(mirrored)[0, :, :37, :41])


def test_the_seed_decides_the_noise_and_touches_nothing_else(translator):
    array = photograph(24, 24)
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    first, again, other = translator(array), translator(array, seed=0), translator(array, seed=1)
    assert torch.equal(torch.rand(4), wanted), "the caller's random numbers stay"
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("at_test", "noise"), [("eval", False), ("dropout", True), ("train", True)]
)
def test_only_where_there_is_noise_the_seed_matters(at_test, noise):
    translator = noisy(at_test=at_test)
    array = photograph(24, 24)
    assert np.array_equal(translator(array, seed=0), translator(array, seed=1)) != noise
    before = {k: v.clone() for k, v in translator.system.state_dict().items()}
    translator(array)
    after = translator.system.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items()), "using it changes nothing"


def test_what_it_makes_may_be_learned_from(translator):
    made = translator(torch.zeros(3, 8, 8))
    weight = torch.ones((), requires_grad=True)
    (made * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (torch.zeros(1, 8, 8), r"reads pictures of 3 channels, this one has shape \[1, 1, 8, 8\]"),
        (torch.zeros(2, 4, 8, 8), r"reads pictures of 3 channels, .* \[2, 4, 8, 8\]"),
        (torch.zeros(8, 8), "reads pictures of 3 channels"),
        (torch.zeros(3, 0, 8), "the picture is empty"),
        (torch.zeros(0, 3, 8, 8), "the picture is empty"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), r"floats in \[-1, 1\].*this one is torch.uint8"),
        (torch.full((3, 8, 8), 200.0), r"floats in \[-1, 1\], .* from 200 to 200"),
        (torch.full((3, 8, 8), torch.nan), r"floats in \[-1, 1\]"),
        (
            np.zeros((8, 8), np.uint8),
            r"an array \[height, width, 3\], this one has shape \[8, 8, 1",
        ),
        (np.zeros((8, 8, 4), np.uint8), r"an array \[height, width, 3\]"),
        (np.zeros((0, 8, 3), np.uint8), r"an array \[height, width, 3\]"),
        (np.zeros((8, 8, 3)), "must be uint8, this one is float64; or give a torch tensor"),
        (np.zeros((2, 8, 8, 3), np.uint8), r"an array \[height, width, 3\]"),
        (Image.new("I;16", (8, 8)), "must have 8 bits a channel, this one is I;16"),
        (Image.new("F", (8, 8)), "must have 8 bits a channel, this one is F"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(translator, picture, words):
    with pytest.raises(DataError, match=words):
        translator(picture)


def test_other_float_types_are_taken(translator):
    picture = torch.rand(3, 8, 8, dtype=torch.float64) * 2 - 1
    assert torch.equal(translator(picture), translator(picture.float()))
    assert translator(picture.half()).dtype == torch.float32


@pytest.fixture
def folder(translator, tmp_path):
    """The translator as it is saved."""
    return translator.save(tmp_path / "saved")


def test_a_saved_folder_is_all_it_needs(translator, folder, tmp_path, monkeypatch):
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert (folder / "README.md").read_text().startswith("---\n"), "the Hub reads what is on top"
    assert all(name.startswith("generator.") for name in load_file(folder / "model.safetensors"))
    moved = shutil.move(folder, tmp_path / "moved away")
    monkeypatch.chdir(tmp_path)
    array = photograph(33, 17)
    for name in (moved, "moved away"):
        assert np.array_equal(load(name, "cpu")(array, seed=5), translator(array, seed=5))


def test_a_run_s_translator_is_found_in_it(tiny_run):
    array = photograph(40, 32)
    whole = dragoman.load(tiny_run.folder, "cpu")(array)
    assert np.array_equal(whole, load(tiny_run.translator, "cpu")(array))


def test_loading_never_runs_what_is_in_a_file(folder, monkeypatch):
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a file was trusted")

    for owner, name in [
        (pickle, "Unpickler"),
        (pickle, "load"),
        (pickle, "loads"),
        (torch, "load"),
        (builtins, "eval"),
        (builtins, "exec"),
    ]:
        monkeypatch.setattr(owner, name, never)
    assert load(folder, "cpu")(torch.zeros(3, 8, 8)).shape == (3, 8, 8)


def _config(folder: Path, **over: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for name, value in over.items():
        place, keys = config, name.split("__")
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
    path.write_text(json.dumps(config))


def _model(folder: Path, change: Any) -> None:
    path = folder / "model.safetensors"
    state = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(state)
    save_file(state, path)


FIRST = "generator.first.conv.weight"
BROKEN = {
    "no config": (lambda f: (f / "config.json").unlink(), "is neither a run nor a tr"),
    "empty config": (lambda f: (f / "config.json").write_text(""), "config.json is damaged"),
    "list": (lambda f: (f / "config.json").write_text("[1]"), "config.json is damaged"),
    "deep": (lambda f: (f / "config.json").write_text("[" * 99999), "config.json is damaged"),
    "nothing": (lambda f: (f / "config.json").write_text("{}"), "does not describe a translator"),
    "long": (lambda f: (f / "config.json").write_bytes(bytes(1 << 25)), "is too large"),
    "system": (lambda f: _config(f, system="gan"), "unknown system 'gan'"),
    "path": (lambda f: _config(f, system="../os"), "unknown system '../os'"),
    "number": (lambda f: _config(f, system=5), "unknown system '5'"),
    "type": (
        lambda f: _config(f, settings__width="wide"),
        "--width must be a whole number, got 'wi",
    ),
    "range": (lambda f: _config(f, settings__width=10**9), "--width must be at most 4096"),
    "wide": (
        lambda f: _config(f, settings__width=4096, settings__blocks=64),
        "weights, more than can be right|tensors differ",
    ),
    "endless": (
        lambda f: _config(f, settings__generator="unet", settings__max_width=10**12),
        "does not describe|tensors differ|more than can be right",
    ),
    "discriminator": (
        lambda f: _config(f, settings__discriminator_width=4096, settings__patch="image"),
        "weights, more than can be right|does not describe",
    ),
    "settings": (lambda f: _config(f, settings=[1]), "does not describe a translator"),
    "channels": (
        lambda f: _config(f, facts__channels={"a": 10**15, "b": 3}),
        "not describe|differ|right",
    ),
    "no channels": (lambda f: _config(f, facts__channels={}), "does not describe a translator"),
    "size": (lambda f: _config(f, facts__size=[10**6, 10**6]), "does not describe a translator"),
    "negative": (lambda f: _config(f, facts__size=[-4, 32]), "does not describe a translator"),
    "sizes": (lambda f: _config(f, facts__size="big"), "does not describe a translator"),
    "infinite": (lambda f: _config(f, facts__images=float("inf")), "config.json"),
    "domains": (lambda f: _config(f, domains={}), "names no domain of its pictures"),
    "domain": (lambda f: _config(f, domains__a={"nme": 1}), "does not describe a translator"),
    "no model": (lambda f: (f / "model.safetensors").unlink(), "there is no .*model.safetensors"),
    "empty": (lambda f: (f / "model.safetensors").write_bytes(b""), "model.safetensors is damaged"),
    "header": (
        lambda f: (f / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + b"{}"),
        "model.safetensors is damaged",
    ),
    "cut": (
        lambda f: (f / "model.safetensors").write_bytes(
            (f / "model.safetensors").read_bytes()[:-5]
        ),
        "model.safetensors is damaged",
    ),
    "pickle": (lambda f: torch.save({}, f / "model.safetensors"), "model.safetensors is damaged"),
    "missing": (lambda f: _model(f, lambda s: s.pop(FIRST)), f"1 tensors differ, as '{FIRST}'"),
    "shape": (
        lambda f: _model(f, lambda s: s.update({FIRST: torch.zeros(2)})),
        f"1 tensors differ, as '{FIRST}'",
    ),
    "more": (
        lambda f: _model(f, lambda s: s.update(evil=torch.zeros(2))),
        "1 tensors differ, as 'evil'",
    ),
}


@pytest.mark.parametrize(("damage", "words"), BROKEN.values(), ids=BROKEN)
def test_damaged_and_hostile_folders_are_refused(folder, damage, words):
    damage(folder)
    with pytest.raises(FileError, match=words) as caught:
        load(folder, "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("savd", r"there is no translator .*savd \(did you mean 'saved'\?\)"),
        ("zzzz/zzzz/zzzz", "there is no translator"),
    ],
)
def test_a_folder_that_is_not_there(folder, name, words):
    with pytest.raises(FileError, match=words):
        load(folder.parent / name)


def test_a_typo_in_a_relative_path_is_not_asked_of_the_hub(folder, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    monkeypatch.chdir(folder.parent.parent)
    with pytest.raises(FileError, match=r"did you mean 'saved'"):
        load(f"{folder.parent.name}/savd")


def test_a_wrong_device_is_a_setting(folder):
    with pytest.raises(SettingsError, match="--device gpu is unknown"):
        load(folder, "gpu")
