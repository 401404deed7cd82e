"""Classes of single pictures from a CSV file: matched by path, unknown where nothing is said."""

from pathlib import Path

import pytest
from laid_out import SPLITS, TWELVE, classes, fill, opened, write_csv

from dragoman.errors import DataError


def _label_set(folder: Path) -> Path:
    for split in SPLITS:
        fill(folder / "set" / split, [f"{split[0]}{number}" for number in range(4)])
    return folder / "set"


def test_labels_of_single_pictures(tmp_path):
    path = write_csv(
        tmp_path,
        "hair,file,age",
        "black,train/t0.png,10",
        "brown,train/t1,9",
        ",./t2.png,9",
        "black,v3.png,",
        "brown,test/t0.png,10",
        name="labels.csv",
    )
    table = opened(_label_set(tmp_path), labels=str(path))
    assert table.label_sets == {"hair": ("black", "brown"), "age": ("9", "10")}
    assert table.problems == [
        f"{path} line 4: 't2' is the name of pictures in several splits; write the path from "
        f"{tmp_path}/set on"
    ]
    assert classes(table, "train") == [[0, 1], [1, 0], [-1, -1], [-1, -1]]
    assert classes(table, "val") == [[-1, -1]] * 3 + [[0, -1]]
    assert classes(table, "test")[0] == [1, 1]
    again = opened(tmp_path / "set", labels=str(path), columns="file=file,label=age")
    assert again.label_sets == {"age": ("9", "10")}
    assert again.digest() != table.digest()


def test_labels_of_flat_pictures_go_with_the_picture_into_its_split(tmp_path):
    fill(tmp_path)
    lines = [f"{name},{name}" for name in TWELVE]
    path = write_csv(tmp_path, "file,number", *reversed(lines), name="labels.csv")
    table = opened(tmp_path, labels=str(path))
    for split in SPLITS:
        found = [table.label_sets["number"][number] for (number,) in classes(table, split)]
        assert found == list(table.names(split))


def test_label_rows_with_a_fault(tmp_path):
    fill(tmp_path)
    path = write_csv(
        tmp_path,
        "file,kind",
        "00.png,x",
        "00,y",
        "01.jpg,x",
        "99.png,x",
        ",x",
        "02.png",
        "03.png,z",
        name="labels.csv",
    )
    table = opened(tmp_path, labels=str(path))
    assert [line.removeprefix(f"{path} ") for line in table.problems] == [
        "line 6: 'file' must name a picture, and each class be one text",
        "line 7: has 1 cells instead of 2; put cells that hold a comma in quotes",
        "line 3: '00' is 'y' in 'kind' here, but 'x' on line 2; keep the row that is right",
        f"line 5: '99' is no picture of {tmp_path}; mend the path",
        "line 4: '01' has another suffix than the picture of this name",
    ]
    assert table.label_sets == {"kind": ("x", "y", "z")}
    known = {
        name: number
        for split in SPLITS
        for name, (number,) in zip(table.names(split), classes(table, split), strict=True)
    }
    assert {name: number for name, number in known.items() if number >= 0} == {"00": 0, "03": 2}


def test_label_files_that_are_refused(tmp_path, monkeypatch):
    fill(tmp_path)
    with pytest.raises(DataError, match=r"--labels .*gone.csv is no file; it must be a CSV with"):
        opened(tmp_path, labels=str(tmp_path / "gone.csv"))
    path = write_csv(tmp_path, "file_name,kind", "00.png,x", name="labels.csv")
    with pytest.raises(
        DataError, match=r"no column 'file' \(did you mean 'file_name'\?\).*--columns"
    ):
        opened(tmp_path, labels=str(path))
    assert opened(tmp_path, labels=str(path), columns="file=file_name").label_sets
    path = write_csv(tmp_path, "file", "00.png", name="labels.csv")
    with pytest.raises(DataError, match="has no column of classes beside 'file'; add one"):
        opened(tmp_path, labels=str(path))
    monkeypatch.setattr("dragoman.data.label_sets.MOST_CLASSES", 5)
    path = write_csv(tmp_path, "file,id", *(f"{name},{name}" for name in TWELVE), name="labels.csv")
    with pytest.raises(DataError, match=r"column 'id' of .* has more than 5 different values and"):
        opened(tmp_path, labels=str(path))
