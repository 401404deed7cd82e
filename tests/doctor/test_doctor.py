"""The doctor as a whole: nothing is cried over sound pictures; text, JSON and statistics."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from patients import (
    COUNTS,
    before_training,
    checked,
    codes_of,
    noise,
    one_of,
    save,
    spoil_files,
    spoil_size,
)
from PIL import Image

from dragoman.data import DataSettings
from dragoman.data.doctor import check
from dragoman.data.doctor.telling import told


def test_nothing_is_cried_over_sound_pictures(sound):
    findings = checked(sound)
    assert (findings.verdict, findings.found) == ("well", ())
    assert findings.examined == 2 * sum(COUNTS.values())
    assert before_training(sound).lines() == []


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        ("earth64:relief,satellite", []),
        ("earth64:height,cover", ["constant"]),
        ("openmoji64:line,colour", ["leak", "near_duplicate", "near_duplicate"]),
    ],
)
def test_embedded_sets_are_as_they_are(data, codes, monkeypatch):
    """Label maps of one class there are; and some emoji share one drawing, even across splits."""
    monkeypatch.delenv("DRAGOMAN_CACHE")
    findings = check(DataSettings(data=data))
    assert codes_of(findings) == codes
    for one in findings.found:
        assert one.count < 40
    if "leak" in codes:
        assert one_of(findings, "leak").examples == ("line 1F7E7 = line 1F7E5",), "square, square"


def test_statistics(pairs, tiles):
    statistics = checked(pairs).statistics
    channels = statistics["b"]["splits"]["test"]["channels"]
    values = tiles["test", "b"].reshape(-1, 3).astype(float)
    for channel, numbers in enumerate(channels):
        own = values[:, channel]
        assert (numbers["min"], numbers["max"]) == (own.min(), own.max())
        assert numbers["mean"] == pytest.approx(own.mean(), abs=1)
        assert numbers["std"] == pytest.approx(own.std(), abs=1)
        assert numbers["p50"] == pytest.approx(np.median(own), abs=2)
    assert statistics["a"]["splits"]["train"]["width"] == {"min": 64, "median": 64, "max": 64}


def test_limit_examines_some_rows_of_each_split(pairs):
    spoil_files(pairs)
    findings = checked(pairs, limit=4)
    assert findings.examined == 3 * 4 * 2
    assert findings.pictures["train"] == {"a": 16, "b": 16}
    assert "examined 24 of 80" in told(findings, 5)


def test_json_has_all_and_its_keys_stay(pairs):
    spoil_size(pairs)
    content = json.loads(checked(pairs).as_json())
    assert list(content) == [
        "version",
        "data",
        "verdict",
        "fatal",
        "warning",
        "note",
        "pictures",
        "examined",
        "findings",
        "statistics",
    ]
    assert (content["version"], content["verdict"], content["fatal"]) == (1, "fatal", 1)
    finding = content["findings"][0]
    assert finding == {
        "level": "fatal",
        "code": "size",
        "key": "",
        "split": "",
        "count": 1,
        "message": "pairs, stacks or layers that differ in size: 1",
        "examples": [
            f"{pairs}/trainA/03.png is 64x64 pixels, but its partner {pairs}/trainB/03.png is 80x64"
        ],
        "fix": "crop or resize both to the same pixels, or remove them",
        "detail": {},
    }
    split = content["statistics"]["a"]["splits"]["train"]
    assert list(split) == ["pictures", "read", "height", "width", "channels"]
    assert list(split["channels"][0]) == ["mean", "std", "min", "p1", "p50", "p99", "max"]


def test_json_keeps_to_the_number_of_examples(pairs):
    for number in range(6):
        save(pairs / "trainB" / f"{number:02}.png", noise(number, 64, 80))
    content = json.loads(checked(pairs).as_json(examples=2))
    assert (content["findings"][0]["count"], len(content["findings"][0]["examples"])) == (6, 2)


def test_the_text_is_ordered_and_fits_a_terminal(pairs):
    save(pairs / "trainB" / "03.png", np.asarray(Image.open(pairs / "trainB" / "02.png")))
    spoil_files(pairs)
    shutil.copy(pairs / "trainA" / "08.png", pairs / "testA" / "08.png")
    findings = checked(pairs)
    text = told(replace(findings, data="pairs"), 1)
    lines = text.replace(f"{pairs}/", "").splitlines()
    assert lines[0] == "pairs: train 16; val 12; test 12 of a, b; examined 80"
    heads = [line for line in lines if line and line[0] != " "][1:]
    assert heads == [
        "FATAL: training would be refused",
        "WARNINGS: training works, but look at these first",
        "STATISTICS",
        "found: 1 fatal, 2 warnings",
    ]
    assert "  - files that cannot be read: 2" in lines
    assert "    ... and 1 more" in lines
    assert max(map(len, lines)) <= 100
    assert lines[-2] == ""
    numbers = next(line for line in lines if line.startswith("                   1 "))
    assert len(numbers.split()) == 8
