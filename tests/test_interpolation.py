"""Networks between two: exact ends, weights by hand, refusals, and the command with its table."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic import KEYS, facts_of, make, picture_batch

import dragoman
from dragoman.cli import main
from dragoman.errors import DataError, FileError, SettingsError
from dragoman.interpolation import ends, interpolate, judge_run, parse_alphas, table
from dragoman.pipeline import Translator, load
from dragoman.saved import generating
from dragoman.system import Facts

DOMAIN = {"name": "photo", "kind": "photo", "channels": 3, "classes": (), "palette": ()}


def translator(name: str, seed: int, facts: Any = None, **knobs: Any) -> Translator:
    """A translator with the seed's weights."""
    system = make(name, seed, facts, **knobs)
    config = {
        "library": "dragoman",
        "version": "0",
        "system": name,
        "settings": vars(system.settings),
        "facts": vars(system.facts),
        "domains": dict.fromkeys(KEYS, DOMAIN),
        "data": "synthetic",
        "training": {},
        "credits": "",
    }
    return Translator(system, config, "cpu")


def generator(one: Translator) -> Any:
    """Its generator."""
    return one.system.generator


def pair(name: str = "esrgan", **knobs: Any) -> tuple[Translator, Translator]:
    """Two translators that were trained apart."""
    return translator(name, 0, **knobs), translator(name, 1, **knobs)


@pytest.mark.parametrize("name", ["esrgan", "srgan", "pix2pix"])
def test_the_ends_are_the_two_bit_for_bit(name):
    two = pair(name)
    for alpha, end in zip((0, 1), two, strict=True):
        between = interpolate(*two, alpha=alpha)
        ours, theirs = generating(between.system), generating(end.system)
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            assert torch.equal(ours[key], value), key
        batch = picture_batch(0)[end.system.source]
        assert torch.equal(between.translate(batch, seed=1), end.translate(batch, seed=1))


def test_every_weight_lies_between():
    psnr, gan = pair()
    between = generating(interpolate(psnr, gan, 0.25).system)
    for key, first in generating(psnr.system).items():
        second = generating(gan.system)[key]
        torch.testing.assert_close(between[key], 0.75 * first + 0.25 * second)


def test_counts_are_the_second_s_and_statistics_lie_between():
    psnr, gan = pair("srgan")
    for number, one in enumerate((psnr, gan)):
        norm = generator(one).norm
        norm.num_batches_tracked.fill_(10 + number)
        norm.running_mean.fill_(float(number))
    norm = generator(interpolate(psnr, gan, 0.5)).norm
    assert norm.num_batches_tracked == 11
    assert torch.equal(norm.running_mean, torch.full_like(norm.running_mean, 0.5))


def test_the_two_stay_as_they_were():
    psnr, gan = pair()
    before = [{k: v.clone() for k, v in generating(t.system).items()} for t in (psnr, gan)]
    interpolate(psnr, gan, 0.5)
    for one, kept in zip((psnr, gan), before, strict=True):
        assert all(torch.equal(v, kept[k]) for k, v in generating(one.system).items())


def test_what_is_saved_loads_and_tells_its_share(tmp_path):
    between = interpolate(*pair(), alpha=0.8)
    again = load(between.save(tmp_path / "between"), "cpu")
    assert again.config["interpolation"] == {"alpha": 0.8}
    batch = picture_batch(0)["low"]
    assert torch.equal(again.translate(batch), between.translate(batch))


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_shares_beyond_the_ends_are_refused(alpha):
    with pytest.raises(SettingsError, match="--alpha must be from 0 to 1"):
        interpolate(*pair(), alpha=alpha)


def test_other_systems_tensors_and_scales_are_refused():
    psnr, other = pair()
    with pytest.raises(FileError, match="no networks between those of srgan and esrgan"):
        interpolate(translator("srgan", 0), psnr, 0.5)
    generator(other).body[0].dense[0].convs[0] = torch.nn.Conv2d(4, 5, 3)
    with pytest.raises(FileError, match=r"2 tensors differ, as 'generator\.body\.0\.dense"):
        interpolate(psnr, other, 0.5)
    first, second = pair("srgan")
    facts = facts_of("srgan")
    second.system.facts = Facts(facts.channels, facts.size, scale=4)
    with pytest.raises(FileError, match="their scales differ"):
        interpolate(first, second, 0.5)


def test_networks_that_use_equal_weights_otherwise_are_refused():
    first, second = translator("esrgan", 0), translator("esrgan", 1, residual_scale=1.0)
    with pytest.raises(FileError, match=r"make different pictures: they differ in residual_scale;"):
        interpolate(first, second, 0.5)
    first, second = pair()
    deeper = dict.fromkeys(KEYS, DOMAIN | {"dtype": "uint16"})
    second = Translator(second.system, second.config | {"domains": deeper}, "cpu")
    with pytest.raises(FileError, match="they differ in depth or range of what they make"):
        interpolate(first, second, 0.5)


def test_the_command_overwrites_nothing(run, tmp_path, capsys):
    (tmp_path / "x").write_text("mine")
    for place in (tmp_path, tmp_path / "x"):
        with pytest.raises(SystemExit):
            main(["interpolate", str(run), "--alpha", "0.5", "--out", str(place)])
        assert f"--out {place} is already there; name a new folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_lists_of_shares():
    assert parse_alphas("1,0, 0.5,0.5") == [0.0, 0.5, 1.0]
    for wrong in ("", "0,x", "0,1.5", "nan"):
        with pytest.raises(SettingsError, match="--alphas must be numbers from 0 to 1"):
            parse_alphas(wrong)


def test_the_table_marks_the_best_of_each():
    rows: list[dict[str, Any]] = [
        {"alpha": 0.0, "psnr": {"mean": 30.0}, "l1": {"mean": 0.01}, "lpips": {"mean": 0.4}},
        {"alpha": 1.0, "psnr": {"mean": 27.5}, "l1": {"mean": 0.02}, "lpips": {"mean": 0.2}},
    ]
    assert table(rows, "title").splitlines() == [
        "title",
        "alpha      psnr        l1     lpips",
        "0           30*     0.01*      0.4",
        "1         27.5      0.02       0.2*",
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of four steps in two stages; tests must not change its weights."""
    folder = tmp_path_factory.mktemp("enlarging")
    pictures = folder / "pictures"
    pictures.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(pictures / f"{number:02d}.png")
    return dragoman.train(
        "srgan",
        folder=folder / "run",
        data=str(pictures),
        size=32,
        scale=2,
        steps=4,
        batch=2,
        width=4,
        blocks=1,
        discriminator_width=2,
        perceptual="none",
        lambda_l2=1.0,
        precision="fp32",
        device="cpu",
        live=False,
    ).folder


def test_one_run_has_both_ends(run):
    psnr, gan = ends(run, None, "cpu")
    assert (psnr.config["system"], gan.config["system"]) == ("srgan", "srgan")
    twice = ends(run / "stages" / "psnr", run, "cpu")
    for one, other in zip((psnr, gan), twice, strict=True):
        theirs = generating(other.system)
        assert all(torch.equal(v, theirs[k]) for k, v in generating(one.system).items())


def test_the_command_writes_a_translator(run, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["interpolate", str(run), "--alpha", "0.8", "--out", str(tmp_path / "one")])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'one'}\n"
    two = [str(run / "stages" / "psnr"), str(run)]
    with pytest.raises(SystemExit):
        main(["interpolate", *two, "--alpha", "0.8", "--out", str(tmp_path / "two")])
    names = ("one/model.safetensors", "two/model.safetensors")
    first, second = ((tmp_path / name).read_bytes() for name in names)
    assert first == second
    picture = torch.zeros(3, 9, 7)
    assert load(tmp_path / "one", "cpu")(picture).shape == (3, 18, 14)


def test_the_command_prints_a_table_over_alpha(run, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["interpolate", str(run), "--alphas", "0,0.5,1", "--split", "val"])
    assert stop.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert "val split" in lines[0]
    assert lines[1].split() == ["alpha", "psnr", "l1", "lpips"]
    assert [line.split()[0] for line in lines[2:]] == ["0", "0.5", "1"]
    told = json.loads((run / "interpolation.json").read_text())
    assert [row["alpha"] for row in told["rows"]] == [0.0, 0.5, 1.0]
    assert all(set(row["psnr"]) == {"mean", "low", "high"} for row in told["rows"])
    assert told["rows"][0]["l1"] != told["rows"][2]["l1"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give --alpha and --out for a translator, or --table true"),
        (["--alpha", "0.5"], "give --alpha and --out"),
        (["more", "again", "--table", "true"], "name one run or two, not 3"),
        (["--alpha", "2", "--out", "x"], "--alpha must be from 0 to 1, got 2"),
    ],
)
def test_what_the_command_refuses(run, arguments, told, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["interpolate", str(run), *arguments])
    assert stop.value.code == 2
    assert told in capsys.readouterr().err


def test_a_run_without_stages_is_refused(tiny_run):
    with pytest.raises(FileError, match=r"no earlier stage 'psnr' .* it has kept none"):
        ends(tiny_run.folder, None, "cpu")


def test_an_empty_split_is_refused(run):
    with pytest.raises(DataError, match="choose another --split"):
        judge_run(run, split="nothing", device="cpu")
