"""Which label set it is by which pictures are drawn, and pictures of no class in it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from laid_out import fill, save, write_csv
from synthetic import make
from test_domain_batches import greys, opened, taken

from dragoman.errors import DataError, SettingsError
from dragoman.matching import tell_left_out

# Of the last three the kind is not known; the last two are l, the others k.
SPARSE = [f"train/{n}.png,{'xy'[n % 2] if n < 6 else ''},{'kl'[n > 6]}" for n in range(9)]
WHOLE = [f"train/{n}.png,{'xyz'[n % 3]},{'klm'[n // 3]}" for n in range(9)]


def labelled(folder: Path, rows: list[str], **options: Any) -> Any:
    """Pictures 0 to 8, whose grey is their number, with these rows of kind and other."""
    fill(folder / "p" / "train", [f"{n}" for n in range(9)])
    for split in ("val", "test"):
        fill(folder / "p" / split, ["v", "w"])
    table = write_csv(folder, "file,kind,other", *rows)
    known = {"layout": "single", "labels": str(table), "size": 8}
    return opened(folder / "p", **(known | options))


def test_classes_of_the_label_set_asked_for_come_equally_often(tmp_path):
    data = labelled(tmp_path, SPARSE, balanced=True)
    for label_set, place in ((None, 0), ("kind", 0), ("other", 1)):
        batches = taken(data, 10, batch=4, label_set=label_set)
        own = torch.cat([batch["labels"][:, place] for batch in batches])
        assert torch.bincount(own).tolist() == [20, 20]
    some = taken(data, 10, batch=4, label_set="other", known=["kind"])
    assert {n for batch in some for n in batch["index"].tolist()} == set(range(6))


def test_pictures_of_no_class_are_left_out_if_it_must_be_known(tmp_path):
    data = labelled(tmp_path, SPARSE)
    assert data.labelled("train", ["kind"]).tolist() == list(range(6))
    assert data.labelled("train", []).tolist() == list(range(9))
    batches = taken(data, 6, batch=3, known=["kind"], references=1)
    found = torch.cat([batch["index"] for batch in batches]).tolist()
    assert sorted(found) == sorted(3 * list(range(6))), "three epochs"
    assert torch.cat([greys(batch["image"]) for batch in batches]).tolist() == found
    again = taken(data, 1, batch=3, known=["kind"], start=4)[0]
    assert torch.equal(again["image"], batches[4]["image"])
    with pytest.raises(DataError, match="of p in its split test has a class of 'kind' and 'other'"):
        data.labelled("test", ["kind", "other"])


def test_pictures_of_no_class_with_buckets(tmp_path):
    data = labelled(tmp_path, SPARSE, size=32, fit="buckets")
    save(tmp_path / "p" / "train" / "7.png", 7, 8)
    found = [batch["index"].tolist() for batch in taken(data, 12, known=["kind"])]
    assert {number for own in found for number in own} == set(range(6))


def test_what_is_left_out_is_said(tmp_path, capsys):
    data = labelled(tmp_path, SPARSE)
    facts = replace(data.facts, size=(32, 32))
    tell_left_out("starganv2", make("starganv2", facts=facts), data)
    assert capsys.readouterr().err == (
        "dragoman: left out 3 of 9 training pictures, such as 6, as they have no class of 'kind', "
        "which starganv2 needs\n"
    )
    tell_left_out("starganv2", make("starganv2", facts=facts, domains="other"), data)
    assert not capsys.readouterr().err


def test_unseen_classes_of_another_label_set(tmp_path):
    for words in ("other=l", "l", "other=l, l"):
        data = labelled(tmp_path, WHOLE, unseen=words)
        assert (data.unseen, data.unseen_set) == ((1,), "other")
        assert list(data.names("train")) == ["0", "1", "2", "6", "7", "8"]
    data.check_classes(["other"])
    first = labelled(tmp_path, WHOLE, unseen="y")
    assert first.unseen_set == "kind"
    assert first.digest != data.digest
    with pytest.raises(SettingsError, match="names classes of 'kind' and of 'other'; name those"):
        labelled(tmp_path, WHOLE, unseen="kind=x,other=l")
