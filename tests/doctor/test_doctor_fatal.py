"""What stands in the way of training is found at once, before training and by the check."""

from pathlib import Path

import numpy as np
import pytest
from patients import (
    before_training,
    checked,
    codes_of,
    noise,
    one_of,
    save,
    spoil_depth,
    spoil_files,
    spoil_folder,
    spoil_name,
    spoil_partner,
    spoil_pixels,
    spoil_size,
    spoil_strip,
)

from dragoman.data.doctor.telling import told


def _stacks(folder: Path) -> str:
    for number in range(12):
        save(folder / "red" / f"{number}.png", noise(number, channels=1))
        save(folder / "nir" / f"{number}.png", noise(100 + number, channels=1))
        save(folder / "photo" / f"{number}.png", noise(200 + number))
    return f"{folder}/red+{folder}/nir,{folder}/photo"


@pytest.mark.parametrize(
    ("spoil", "code", "lines", "fix"),
    [
        (
            spoil_partner,
            "partner",
            ["trainA/03.png has no partner in", "valA/alone.png has no partner in"],
            "--pairing unpaired",
        ),
        (spoil_name, "same_name", ["trainA/03.png has the same name as"], "keep one of each"),
        (
            spoil_files,
            "unreadable",
            ["trainA/03.png is ", "testB/04.png is empty"],
            "copy them again",
        ),
        (
            spoil_size,
            "size",
            ["trainA/03.png is 64x64 pixels, but its partner ", "trainB/03.png is 80x64"],
            "crop or resize",
        ),
        (
            spoil_depth,
            "mixed",
            ["trainB/03.png holds uint16, but pictures of B hold uint8; convert it"],
            "convert them",
        ),
        (
            spoil_pixels,
            "too_large",
            ["trainA/03.png has 128x128 pixels, more than the limit of 0.006 million"] * 1,
            "--max_megapixels",
        ),
        (
            spoil_strip,
            "shape",
            ["trainA/03.png is 3000x2 pixels, too long and narrow to bring its shorter side to 72"],
            "--fit pad",
        ),
        (spoil_folder, "left_out", ["trainA/03.png is a folder, not a picture"], "rename"),
    ],
)
def test_what_is_fatal_is_found_with_its_fix_both_before_training_and_by_check(
    pairs, spoil, code, lines, fix
):
    spoil(pairs)
    options = {"max_megapixels": 0.006} if code in ("too_large", "shape") else {}
    before, whole = before_training(pairs, **options), checked(pairs, **options)
    assert before.verdict == whole.verdict == "fatal"
    for findings in (before, whole):
        one = one_of(findings, code)
        assert fix in one.fix
        for words in lines:
            assert any(words in line for line in one.examples), one.examples
        assert one.count == len(one.examples)
    assert sorted(before.lines()) == sorted(whole.lines())
    assert whole.examined < 100


def test_everything_is_told_at_once(pairs):
    for spoil in (spoil_size, spoil_files, spoil_depth, spoil_partner):
        spoil(pairs)
    # 03 lost its partner, so that it is no longer there to be damaged or of another size
    assert codes_of(before_training(pairs)) == ["partner", "unreadable"]
    save(pairs / "trainB" / "05.png", noise(2, 64, 80))
    save(pairs / "trainB" / "06.png", np.full((64, 64), 40_000, np.uint16))
    findings = checked(pairs)
    assert codes_of(findings)[:4] == ["partner", "unreadable", "mixed", "size"]
    assert len(findings.lines()) == 5


def test_stacks_must_have_one_size(tmp_path):
    data = _stacks(tmp_path)
    assert not checked(data, size=32).of("fatal")
    save(tmp_path / "nir" / "3.png", noise(7, 32, 40, 1))
    one = one_of(checked(data, size=32), "size")
    assert one.examples == (
        f"{tmp_path}/nir/3.png is 40x32 pixels, but {tmp_path}/red/3.png, with which it is "
        "stacked, is 32x32",
    )
    assert before_training(data, size=32).lines() == list(one.examples)


def test_halves_must_be_even(tmp_path):
    for number in range(40):
        save(tmp_path / f"{number}.png", noise(number, 32, 64 + (number == 3)))
    findings = checked(tmp_path, size=32, layout="side_by_side")
    assert codes_of(findings) == ["shape"]
    lines = findings.lines()
    assert len(lines) == 2, "for a and for b"
    assert "3.png is 65 pixels wide, which cannot be halved into a and b" in lines[0]
    assert before_training(tmp_path, size=32, layout="side_by_side").lines() == lines


def test_values_that_are_no_numbers(tmp_path):
    for number in range(12):
        values = noise(number, channels=1).astype(np.float32)
        values[0, 0] = np.nan if number in (3, 4) else 0
        np.save(tmp_path / f"{number}.npy", values)
    one = one_of(checked(tmp_path, size=32), "not_finite")
    assert one.count == 2
    assert "3.npy has 1 values that are no finite numbers (NaN, inf)" in one.examples[0]
    assert "numpy.nan_to_num" in one.fix


def test_class_numbers_beyond_the_count_come_with_their_histogram(maps):
    options = {"size": 32, "kind": "a=labels", "classes": "a=3"}
    assert not checked(maps, unlabelled="a=255", **options).of("fatal")
    findings = checked(maps, **options)
    one = one_of(findings, "no_class")
    assert one.count == 30
    assert "trainA/00.png holds the class 255, but A has the classes 0 to 2" in one.examples[0]
    histogram = one.detail["histogram"]["a"]
    assert list(histogram) == ["0", "1", "2", "255"]
    assert histogram["255"] == 30 * 32
    assert sum(histogram.values()) == 30 * 32 * 32
    text = told(findings, 5)
    assert "pixels of each number in a: 0: " in text
    assert "255: 960" in text


def test_negative_class_numbers(maps):
    for number in range(30):
        (maps / "trainA" / f"{number:02}.png").unlink()
        np.save(maps / "trainA" / f"{number:02}.npy", np.full((32, 32), number % 3 - 1, np.int16))
    one = one_of(checked(maps, size=32, kind="a=labels", classes="a=3"), "no_class")
    assert "holds the class -1" in one.examples[0]
    assert one.detail["histogram"]["a"]["-1"] == 10 * 32 * 32


def test_rows_of_labels_that_name_no_picture(tmp_path):
    folder, labels = tmp_path / "set", tmp_path / "labels.csv"
    for number in range(12):
        save(folder / f"{number:02}.png", noise(number))
    rows = [f"{number:02}.png,{'ab'[number % 2]}" for number in range(12)]
    labels.write_text("\n".join(["file,kind", *rows]))
    findings = checked(folder, size=32, layout="single", labels=str(labels))
    assert findings.verdict == "warning", codes_of(findings)
    assert "row" not in codes_of(findings)
    labels.write_text("\n".join(["file,kind", *rows, "nowhere.png,a"]))
    one = one_of(checked(folder, size=32, layout="single", labels=str(labels)), "row")
    assert "labels.csv line 14: " in one.examples[0]
    assert "'nowhere' is no picture of " in one.examples[0]


def test_masks_and_instances_belong_to_the_first_key(tmp_path):
    for number in range(12):
        save(tmp_path / "train" / "A" / f"{number:02}.png", noise(number))
        save(tmp_path / "train" / "B" / f"{number:02}.png", noise(100 + number))
        inside = np.zeros((32, 32 + (number == 3)), np.uint8)
        inside[:8] = 255
        save(tmp_path / "train" / "mask" / f"{number:02}.png", inside)
    findings = checked(tmp_path, size=32)
    one = one_of(findings, "size")
    assert "03.png is 32x32 pixels, but its partner " in one.examples[0]
    assert "mask/03.png is 33x32" in one.examples[0]
    assert findings.statistics["mask"]["splits"]["train"]["inside"] == pytest.approx(0.25)
    assert before_training(tmp_path, size=32).lines() == list(one.examples)
