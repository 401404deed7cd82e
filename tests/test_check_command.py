"""The command `check`: what it prints and writes, and with which code it ends."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dragoman import cli

TINY = Path(__file__).parent / "data" / "tiny" / "earth32"


@pytest.fixture
def call(capsys):
    """Run a command; returns its exit code, output and errors."""

    def call(*argv: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main([str(text) for text in argv])
        code = caught.value.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    """A copy of the tiny pairs, of which nothing fatal is to be said; and a cache of its own."""
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(TINY, tmp_path / "pairs"))


def test_sound_pictures_end_with_0(call, pairs):
    code, out, err = call("check", pairs, "--size", 32)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    opening = " ".join(out.partition("\n\n")[0].split())
    assert opening == f"{pairs}: train 15; val 1; test 6 of a, b; examined 44"
    assert "  - val has 1 picture, too few to judge by" in lines
    assert "  a: A, photo, uint8, 3 channels" in lines
    assert lines[-1] == "found: 1 warning"


def test_what_is_fatal_ends_with_1_and_training_is_refused_with_the_same_line(call, pairs):
    (pairs / "trainA" / "03.png").write_bytes(b"")
    code, out, err = call("check", pairs, "--size", 32)
    assert (code, err) == (1, "")
    line = f"{pairs}/trainA/03.png is empty"
    assert f"    {line}\n    fix: copy them again from where they came, or remove them" in out
    code, _, err = call("train", "pix2pix", "--data", pairs, "--size", 32, "--device", "cpu")
    assert code == 2
    assert err == (
        f"dragoman: 1 problem in the pictures of {pairs}; mend or remove these files:\n  {line}\n"
    )


def test_what_cannot_be_opened_ends_with_2(call, tmp_path):
    code, out, err = call("check", tmp_path / "nowhere")
    assert (code, out) == (2, "")
    assert "nowhere" in err
    assert err.count("\n") == 1


def test_json_goes_to_a_file_or_takes_the_place_of_the_text(call, pairs, tmp_path):
    _, text, _ = call("check", pairs, "--size", 32)
    code, out, _ = call("check", pairs, "--size", 32, "--json", tmp_path / "found.json")
    assert (code, out) == (0, text)
    written = (tmp_path / "found.json").read_text()
    code, out, _ = call("check", pairs, "--size", 32, "--json", "-")
    assert (code, out) == (0, written)
    content = json.loads(written)
    assert content["verdict"] == "warning"
    assert [one["code"] for one in content["findings"]] == ["few"]


def test_settings_of_the_data_are_taken(call, pairs):
    code, out, _ = call("check", pairs, "--size", 64, "--fit", "pad", "--pairing", "unpaired")
    assert code == 0
    assert "smaller than" not in out
    code, out, _ = call("check", pairs, "--size", 64, "--kind", "a=values", "--range", "a=0:100")
    assert code == 0
    assert "of the values of a lie beyond its range" in out
    assert "0 to 100 becomes -1 to 1" in out


def test_limit_and_examples(call, pairs):
    for number in range(6):
        grey = np.full((32, 32, 3), 40 * number, np.uint8)
        Image.fromarray(grey).save(pairs / "trainB" / f"{number:02}.png")
    _, out, _ = call("check", pairs, "--size", 32, "--examples", 2)
    assert "  - pictures of one colour: 6 of the 22 of b" in out
    assert "trainB/01.png\n    ... and 4 more\n" in out
    assert "trainB/02.png" not in out
    _, out, _ = call("check", pairs, "--size", 32, "--limit", 3)
    assert "examined 14 of 44" in out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--limit", -1], "--limit must be at least 0, got -1"),
        (["--examples", -1], "--examples must be at least 0, got -1"),
        (["--limit", "some"], "--limit must be a whole number, got 'some'"),
        (["--siz", 3], "unknown setting '--siz' (did you mean 'size'?)"),
        (["--size", 3], "--size must be at least 8, got 3"),
        (["--json", "no/where/x.json"], "cannot write --json no/where/x.json: No such file"),
    ],
)
def test_mistakes_are_one_sentence(call, pairs, flags, words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, _, err = call("check", pairs, *flags)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1


def test_an_embedded_set_is_examined_too(call):
    code, out, _ = call("check", "earth64:relief,satellite", "--limit", 20)
    assert code == 0
    assert out.startswith(
        "earth64:relief,satellite: train 1,432; val 58; test 97 of a, b; examined"
    )
    assert out.endswith("\nnothing was found\n")
