"""Knobs: one declaration for command line, file and call, and a sentence for every mistake."""

import dataclasses
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from PIL import Image

from dragoman.data import DataSettings, open_data
from dragoman.errors import DataError, SettingsError, choose, did_you_mean
from dragoman.matching import check_fits
from dragoman.settings import build, describe, knob, knobs, parse, read_yaml
from dragoman.systems import find_system
from dragoman.training import settle_settings, train


@dataclass(frozen=True)
class Some:
    """A few knobs of every type."""

    name: str = knob(help="has no default")
    count: int = knob(3, "a number of things", 1, 10)
    share: float = knob(0.5, "a share", 0, 1)
    flag: bool = knob(False, "yes or no")
    kind: Literal["one", "two", 3] = knob("one", "a choice")
    most: int | None = knob(None, "may be left open", 0)


@dataclass(frozen=True)
class Other:
    """Two more."""

    rate: float = knob(0.1, "a rate", 0)
    count: int = knob(1, "the same name again")


def settled(*arguments: str, **values: object) -> dict:
    return settle_settings("pix2pix", values, list(arguments))[1]


def test_a_knob_tells_everything_once():
    found = knobs([Some])
    assert list(found) == ["name", "count", "share", "flag", "kind", "most"]
    assert found["name"].required
    assert not found["count"].required
    assert (found["count"].default, found["count"].low, found["count"].high) == (3, 1, 10)
    assert found["count"].help == "a number of things"


def test_two_knobs_of_one_name_are_a_mistake_of_ours():
    with pytest.raises(SettingsError, match="the knob 'count' is declared twice"):
        knobs([Some, Other])


def test_values_win_over_defaults_and_arguments_over_values():
    plain = parse([Some])
    assert plain == {
        "name": None,
        "count": 3,
        "share": 0.5,
        "flag": False,
        "kind": "one",
        "most": None,
    }
    own = parse([Some], defaults={"count": 4, "share": 0.1})
    assert (own["count"], own["share"]) == (4, 0.1)
    both = parse([Some], {"count": 5}, defaults={"count": 4})
    assert both["count"] == 5
    every = parse([Some], {"count": 5, "kind": 3}, ["--count", "6", "--most=2"], {"count": 4})
    assert (every["count"], every["kind"], every["most"]) == (6, 3, 2)


def test_build_takes_its_own_and_checks_them():
    made = build(Some, {"name": "x", "count": 2, "rate": 9.0, "unknown": 1})
    assert made == Some("x", 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.count = 3
    with pytest.raises(SettingsError, match="--count must be at least 1, got 0"):
        build(Some, {"count": 0})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("--lr 1e-4", 1e-4),
        ("--lr=0.5", 0.5),
        ("--steps 12", 12),
        ("--steps null", None),
        ("--flip false", False),
        ("--flip no", False),
        ("--patch 16", 16),
        ("--patch image", "image"),
        ("--folder 2024", "2024"),
        ("--folder 1e3", "1e3"),
        ("--folder [1,2]", "[1,2]"),
        ("--data a,b", "a,b"),
        ("--data 123", "123"),
        ("--minutes 4", 4.0),
    ],
)
def test_arguments_have_the_declared_type(text, value):
    arguments = text.split(" ")
    found = settled(*arguments)[arguments[0].split("=")[0].removeprefix("--")]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stepz", "3"], r"unknown setting '--stepz' \(did you mean 'steps'\?\)"),
        (["--lambda_L1=3"], r"unknown setting '--lambda_L1=3' \(did you mean 'lambda_l1'\?\)"),
        (["extra"], "unknown setting 'extra'"),
        (["--lr", "fast"], "--lr must be a number, got 'fast'"),
        (["--lr", "null"], "--lr must be a number, got "),
        (["--lr", "nan"], "--lr must be a number, got 'nan'"),
        (["--lr", ".inf"], "--lr must be a finite number, got inf"),
        (["--lr", "-1"], "--lr must be at least 0, got -1"),
        (["--steps", "2.5"], "--steps must be a whole number or null, got '2.5'"),
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--seed", "-1"], "--seed must be at least 0, got -1"),
        (["--seed", "99999999999"], "--seed must be at most 2147483647, got 99999999999"),
        (["--dropout", "1.5"], "--dropout must be at most 0.95, got 1.5"),
        (["--flip", "perhaps"], "--flip must be true or false, got 'perhaps'"),
        (["--flip"], "--flip needs a value: true or false"),
        (["--steps"], "--steps needs a value: a whole number or null"),
        (["--patch", "17"], "--patch must be one of 1, 16, 70, image, got '17'"),
        (["--generator", "unett"], "--generator must be one of unet, "),
        (["--minutes", "0"], "--minutes must be at least 0.01, got 0"),
        (["--keep", "0"], "--keep must be at least 1, got 0"),
    ],
)
def test_a_wrong_argument_is_one_sentence(arguments, words):
    with pytest.raises(SettingsError, match=words) as caught:
        settled(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lr": "fast"}, "--lr must be a number, got 'fast'"),
        ({"lr": None}, "--lr must be a number, got null"),
        ({"lr": [1]}, r"--lr must be a number, got '\[1\]'"),
        ({"steps": True}, "--steps must be a whole number or null, got 'True'"),
        ({"flip": 1}, "--flip must be true or false, got '1'"),
        ({"Steps": 2}, r"unknown setting 'Steps' \(did you mean 'steps'\?\)"),
        ({"qqqq": 2}, "unknown setting 'qqqq'$"),
    ],
)
def test_a_wrong_value_of_a_call_is_one_sentence(values, words):
    with pytest.raises(SettingsError, match=words):
        settled(**values)


FILES = {
    "lr: fast": "--lr must be a number, got 'fast' in .*recipe.yaml",
    "lr:": "--lr in .*recipe.yaml must be a number, got null",
    "steps: -1": "--steps in .*recipe.yaml must be at least 1, got -1",
    "lr: .inf": "--lr in .*recipe.yaml must be a finite number",
    "lrr: 1": r"unknown setting 'lrr' in .*recipe.yaml \(did you mean 'lr'\?\)",
    "1: 1": "unknown setting '1' in .*recipe.yaml",
    "folder: 2024": "--folder must be a text or null, got '2024' in .*recipe.yaml",
    "lr: 0.1\nlr: 0.2": r"recipe.yaml is not valid YAML \(line 3: 'lr' is given twice\)",
    "folder: 2024-01-01": r"'folder' has a date \(quotes make it a text\)",
    "lr: {a: 1}": r"'name: value' lines, one for each setting; 'lr' has a dict",
    "lr: [0.1]": "'lr' has a list",
    "a: &a [x]\nlr: *a": "'a' has a list",
    "\tlr: 1": r"recipe.yaml is not valid YAML \(line 2: ",
    "lr: !!python/object/apply:os.system ['exit']": "recipe.yaml is not valid YAML",
    "lr: !!python/name:os.system": "recipe.yaml is not valid YAML",
    "<<: {lr: 1}": "recipe.yaml is not valid YAML",
    "? [a]\n: 1": "recipe.yaml is not valid YAML",
    "lr: " + "[" * 9999: "recipe.yaml is not valid YAML",
    "steps: " + "9" * 5000: "recipe.yaml is not valid YAML",
    "# " + "x" * (1 << 16): "recipe.yaml is too long to be a settings file",
    "lr: \x00": "recipe.yaml is not valid YAML",
}


@pytest.mark.parametrize(("text", "words"), FILES.items(), ids=[t[:20] for t in FILES])
def test_a_wrong_file_names_itself(tmp_path, text, words):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"system: pix2pix\n{text}\n")
    with pytest.raises(SettingsError, match=words) as caught:
        settle_settings(str(path), {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "must hold 'name: value' lines"),
        (b"- 1", "must hold 'name: value' lines"),
        (b"lr: 1", "has no line 'system: NAME'"),
        (b"system: pix2pixx", r"unknown system 'pix2pixx' \(did you mean 'pix2pix'\?\)"),
        (b"\xff\xfe\x00", "cannot read the settings file"),
        (None, "cannot read the settings file .*No such file"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path, content, words):
    path = tmp_path / "recipe.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=words):
        settle_settings(str(path), {})


def test_yaml_may_bomb_but_stays_small(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (tmp_path / "x.yaml").write_text("\n".join(lines))
    with pytest.raises(SettingsError, match="'a0' has a list"):
        read_yaml(tmp_path / "x.yaml")


def test_a_recipe_flags_and_keywords_give_the_same(tmp_path, tiny):
    path = tmp_path / "recipe.yaml"
    wanted = {**tiny, "lr": 1e-4, "schedule": "linear", "patch": 1, "average": 0.5}
    path.write_text(yaml.safe_dump({"system": "pix2pix", **wanted}).replace("0.0001", "1e-4"))
    assert "lr: 1e-4" in path.read_text(), "which YAML alone takes for a text"
    flags = [
        f"--{name}={str(value).lower() if name != 'data' else value}"
        for name, value in wanted.items()
    ]
    from_file = settle_settings(str(path), {})
    assert from_file == settle_settings("pix2pix", {}, flags)
    assert from_file == settle_settings("pix2pix", {**wanted, "data": Path(tiny["data"])})
    name, changed = settle_settings(str(path), {"lr": 1e-3}, ["--patch", "16"])
    assert name == "pix2pix"
    assert (changed["lr"], changed["patch"]) == (1e-3, 16)
    assert {**from_file[1], "lr": 1e-3, "patch": 16} == changed


def test_a_system_s_own_defaults_lie_below_what_is_given(monkeypatch):
    monkeypatch.setattr(find_system("pix2pix"), "defaults", {"batch": 1, "average": 0.0})
    assert settled()["batch"] == 1
    assert settled(batch=3)["batch"] == 3
    assert settled("--average", "0.5")["average"] == 0.5


def _train(tiny, **over):
    settings: dict[str, Any] = {**tiny, "steps": 1, **over}
    return train("pix2pix", **settings)


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"data": None}, "--data is missing; 'dragoman datasets' lists what can be named"),
        ({"data": "erth64:a,b"}, r"--data 'erth64' is neither .*\(did you mean 'earth64'\?\)"),
        ({"objective": "L1+cGAN", "lambda_l1": 0}, r"--objective L1\+cGAN with --lambda_l1 0 has"),
        ({"objective": "L1", "lambda_l1": 0}, "--objective L1 with --lambda_l1 0 has no L1 term"),
        (
            {"objective": "GAN", "lambda_adversarial": 0},
            "--objective GAN with --lambda_adversarial 0 has no adversarial term; use --object",
        ),
        (
            {"adversarial": "hinge", "real_label": 0.9},
            "--real_label 0.9 smooths labels, which --adversarial hinge has not; leave it at 1 or",
        ),
        (
            {"generator": "unet", "depth": 6},
            "a picture of 32 px cannot be halved 6 times; use --depth 5 or less, or --size 64",
        ),
        ({"patch": 70, "size": 16}, "a patch of 70 needs pictures of at least 24 x 24 pixels"),
        ({"pairing": "unpaired"}, "pix2pix learns from pairs, but --pairing unpaired takes them"),
        ({"load_size": 16}, "--load_size 16 is less than --size 32"),
        (
            {"accumulate": 5},
            "--accumulate 5 takes a batch in more parts than the 4 pictures of --b",
        ),
        ({"device": "gpu"}, "--device gpu is unknown; use auto, cpu, cuda or cuda:N"),
    ],
)
def test_impossible_combinations_are_refused_at_once(tiny, tmp_path, over, words):
    folder = tmp_path / "run"
    with pytest.raises((SettingsError, DataError), match=words):
        _train(tiny, folder=folder, **over)
    assert not folder.exists(), "nothing was begun"


def test_smoothing_matters_only_with_a_discriminator():
    kind = find_system("pix2pix").Settings
    assert build(kind, {"objective": "L1", "adversarial": "hinge", "real_label": 0.9})


def test_a_folder_that_holds_a_run_is_not_overwritten(tiny, tiny_run):
    before = (tiny_run.folder / "settings.yaml").read_bytes()
    with pytest.raises(
        SettingsError, match=r"already holds a run; continue it with 'dragoman resume .*' or choose"
    ):
        _train(tiny, folder=tiny_run.folder)
    assert (tiny_run.folder / "settings.yaml").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_said_so(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"cannot be made: .*; choose another --folder"):
        _train(tiny, folder=tmp_path / "file")


def test_data_must_have_what_the_system_learns_from(tiny, monkeypatch):
    kind = find_system("pix2pix")
    monkeypatch.setattr(kind, "needs", ("a", "low"))
    data = open_data(build(DataSettings, tiny))
    with pytest.raises(DataError, match="pix2pix needs 'low' in its batches, earth32 has a, b; "):
        check_fits("pix2pix", kind, kind.Settings(), data)


@pytest.mark.parametrize("name", ["pix2pixhd", "spade"])
def test_missing_instance_maps_name_the_setting_that_does_without(tiny, name):
    kind = find_system(name)
    data = open_data(build(DataSettings, tiny))
    own = kind.Settings(instances="map")
    words = f"{name} needs 'instance' in its batches, .*; use --instances regions"
    with pytest.raises(DataError, match=words):
        check_fits(name, kind, own, data)


def test_single_pictures_are_told_how_to_be_enlarged(tmp_path):
    for number in range(4):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(tmp_path / f"{number}.png")
    data = open_data(DataSettings(str(tmp_path), size=16))
    kind = find_system("srgan")
    with pytest.raises(DataError, match=r"srgan needs 'low' .*; with --scale 4 each picture gives"):
        check_fits("srgan", kind, kind.Settings(), data)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int, "a whole number"),
        (float | None, "a number or null"),
        (Literal["a", 1], "one of a, 1"),
        (str, "a text"),
        (bool, "true or false"),
    ],
)
def test_types_in_words(kind, words):
    assert describe(kind) == words


def test_choosing_among_known_words():
    assert choose("fruit", "pear", ["apple", "pear"]) == "pear"
    with pytest.raises(
        SettingsError, match=r"unknown fruit 'peer' \(did you mean 'pear'\?\); known"
    ):
        choose("fruit", "peer", ["apple", "pear"])
    assert did_you_mean("zzz", ["apple"]) == ""


def test_settings_need_no_torch():
    code = (
        "import sys, dragoman, dragoman.settings, dragoman.data.settings, dragoman.errors\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
