"""Domains that hold the same pictures, labels that disagree, classes too small to be domains."""

import shutil

import pytest
from laid_out import write_csv
from patients import checked, codes_of, noise, one_of, save

from dragoman.data import DataSettings, open_data
from dragoman.data.doctor import shared as sharing
from dragoman.errors import DataError
from dragoman.matching import check_fits
from dragoman.system import System
from dragoman.systems.cyclegan import CycleGAN
from dragoman.systems.munit import MUNIT

SIZE = {"size": 16}


@pytest.fixture
def animals(tmp_path):
    """Thirty pictures of noise of each of three classes, no two alike."""
    for place, kind in enumerate(("cat", "dog", "owl")):
        for number in range(30):
            save(tmp_path / "set" / kind / f"{number:02}.png", noise(100 * place + number, 16, 16))
    return tmp_path / "set"


def opened(data, **options):
    """Open data with settings, small."""
    return open_data(DataSettings(data=str(data), size=16, **options))


def test_three_domains_of_their_own(animals):
    assert codes_of(checked(animals, **SIZE)) == []
    opened(animals).check()


def test_equal_classes_are_refused_with_both_folders(animals):
    shutil.rmtree(animals / "dog")
    shutil.copytree(animals / "cat", animals / "dog")
    data = opened(animals)
    count = data._source.labels("train", range(data.counts["train"]))[:, 0].tolist().count(0)
    line = (
        f"{animals}/cat and {animals}/dog hold the same pictures: all {count} training pictures of "
        f"the first in the second too, such as {animals}/cat/00.png = {animals}/dog/00.png; put "
        "other pictures into one of them, or take one of the two folders out"
    )
    assert data._source.unfit() == [line]
    with pytest.raises(
        DataError, match=r"(?s)1 problem in the pictures of .*cat and .*dog hold the"
    ):
        data.check()
    one = one_of(checked(animals, **SIZE), "same_domain")
    assert (one.level, one.examples) == ("fatal", (line,))
    assert one.message == "domains that hold the same pictures: 1"


def test_a_class_within_another_is_refused_whatever_the_names(animals):
    """The smaller one is told first; its pictures lie in other splits of the larger one."""
    shutil.rmtree(animals / "owl")
    for number in range(12):
        shutil.copy(animals / "cat" / f"{number:02}.png", animals / "dog" / f"new{number}.png")
        (animals / "owl").mkdir(exist_ok=True)
        shutil.copy(animals / "cat" / f"{number:02}.png", animals / "owl" / f"other{number}.png")
    lines = opened(animals)._source.unfit()
    assert [line.partition(" hold ")[0] for line in lines] == [
        f"{animals}/owl and {animals}/cat",
        f"{animals}/owl and {animals}/dog",
    ]
    save(animals / "owl" / "more.png", noise(999, 16, 16))
    for split in ("val", "test"):  # then that one stays in train
        shutil.copytree(animals / "dog", animals.parent / split / "dog")
        shutil.copytree(animals / "cat", animals.parent / split / "cat")
    animals.rename(animals.parent / "train")
    assert opened(animals.parent)._source.unfit() == []


def test_equal_unpaired_folders_are_refused(animals):
    shutil.copytree(animals / "cat", animals / "copy")
    text = f"{animals}/cat,{animals}/copy"
    data = opened(text, pairing="unpaired")
    (line,) = data._source.unfit()
    assert line.startswith(f"{animals}/cat and {animals}/copy hold the same pictures: all ")
    assert one_of(checked(text, pairing="unpaired", **SIZE), "same_domain").count == 1
    opened(f"{animals}/cat,{animals}/dog", pairing="unpaired").check()
    paired = opened(text)
    paired.check()  # pairs may be equal: an autoencoder learns from them
    for key in "AB":
        shutil.copytree(animals / "cat", animals.parent / "two" / f"train{key}")
    root = animals.parent / "two"
    (line,) = opened(root, pairing="unpaired")._source.unfit()
    assert line.startswith(f"{root}/trainA and {root}/trainB hold the same pictures")


def test_some_equal_pictures_are_a_warning(animals):
    for number in (3, 5):
        shutil.copy(animals / "cat" / f"{number:02}.png", animals / "dog" / f"{number:02}.png")
    opened(animals).check()
    findings = checked(animals, **SIZE)
    one = one_of(findings, "shared")
    assert (one.level, one.count) == ("warning", 2)
    assert one.message == "2 pictures in two classes of 'label'"
    assert one.fix == "keep each in the one where it belongs"
    assert sorted(one.examples) == [
        f"{animals}/dog/{number}.png = {animals}/cat/{number}.png" for number in ("03", "05")
    ]
    text = f"{animals}/cat,{animals}/dog"
    apart = one_of(checked(text, pairing="unpaired", **SIZE), "shared")
    assert apart.message == "2 pictures in two domains, a and b"
    assert sorted(apart.examples) == sorted(one.examples)
    assert "shared" not in codes_of(checked(text, **SIZE)), "pairs are no domains apart"


def test_many_files_of_one_length_are_not_read(animals, monkeypatch):
    shutil.rmtree(animals / "dog")
    shutil.copytree(animals / "cat", animals / "dog")
    monkeypatch.setattr(sharing, "MOST_READ", 1)
    assert opened(animals)._source.unfit() == []


def test_files_of_other_lengths_are_not_read(animals, monkeypatch):
    """They cannot be equal; a PNG may be longer than its content."""
    seen = []
    real = sharing._content
    monkeypatch.setattr(sharing, "_content", lambda path: seen.append(path) or real(path))
    for place, kind in enumerate(("cat", "dog", "owl")):
        for number, path in enumerate(sorted((animals / kind).iterdir())):
            path.write_bytes(path.read_bytes().ljust(2000 + 100 * place + number, b"0"))
    assert opened(animals)._source.unfit() == []
    assert not seen
    shutil.copy(animals / "cat" / "00.png", animals / "dog" / "zz.png")
    assert opened(animals)._source.unfit() == []
    assert not seen, "one in common is not all"


def test_labels_of_a_table_that_disagree(animals):
    folder = animals / "cat"
    rows = [f"{n:02}.png,{'young' if n % 2 else 'old'},{n % 3}" for n in range(30)]
    again = ["04.png,young,1", "./05,young,2", "06,,0", "cat/07.png,old,1"]
    table = write_csv(animals, "file,age,hair", *rows, *again)
    data = opened(folder, layout="single", labels=str(table))
    assert [line.removeprefix(f"{table} ") for line in data._source.table.problems] == [
        "line 32: '04' is 'young' in 'age' here, but 'old' on line 6; keep the row that is right",
        "line 33: '05' is named a second time; remove one of the rows",
        "line 34: '06' is named a second time; remove one of the rows",
        f"line 35: 'cat/07' is no picture of {folder}; mend the path",
    ]
    with pytest.raises(DataError, match=r"line 32: '04' is 'young' in 'age' here, but 'old'"):
        data.check()


def test_labels_of_one_picture_under_two_paths_that_disagree(animals):
    for split in ("train", "val", "test"):
        for number in range(3):
            save(animals / "p" / split / f"{split}{number}.png", noise(number, 16, 16))
    rows = ["train0.png,x", "train/train0.png,y", "val/val0.png,x", "val0.png,x"]
    table = write_csv(animals, "file,kind", *rows)
    found = opened(animals / "p", layout="single", labels=str(table))._source.table.problems
    assert sorted(line.partition(" line ")[2] for line in found) == [
        "2: 'train0' is 'x' in 'kind' here, but 'y' on line 3; keep the row that is right",
        "5: 'val0' is named a second time; remove one of the rows",
    ]


def test_rows_of_a_manifest_that_disagree(animals):
    rows = [f"cat/{n:02}.png,{'young' if n % 2 else 'old'},k" for n in range(30)]
    rows += ["dog/00.png,old,k", "cat/04.png,young,k", "cat/05.png,young,k", "cat/./06.png,,k"]
    rows += ["cat/07.png,young,m"]
    table = write_csv(animals, "image,label,label_z", *rows)
    data = opened(table)
    assert data._source.table.problems == [
        f"{table} line 33: 'cat/04.png' is 'young' in 'label' here, but 'old' on line 6; keep the "
        "row that is right",
        f"{table} line 36: 'cat/07.png' is 'm' in 'z' here, but 'k' on line 9; keep the row that "
        "is right",
    ]
    with pytest.raises(DataError, match=r"^2 problems"):
        data.check()


def test_answers_to_one_drawing_may_have_labels_of_their_own(animals):
    """The same a with another b is no contradiction: one drawing, six right answers."""
    rows = [f"cat/{n // 3:02}.png,dog/{n:02}.png,{n % 3}" for n in range(30)]
    assert opened(write_csv(animals, "a,b,label", *rows))._source.table.problems == []


def few(folder, *, lone="owl", count=1):
    """A table of labels in which one class has so many pictures, all of them in train."""
    for split in ("train", "val", "test"):
        for number in range(10):
            save(folder / split / f"{number}.png", noise(10 * len(split) + number, 16, 16))
    rows = [f"train/{n}.png,{lone if n < count else ('cat', 'dog')[n % 2]}" for n in range(10)]
    rows += ["val/0.png,elk", "val/1.png,cat"]
    return {"layout": "single", "labels": str(write_csv(folder.parent, "file,kind", *rows))}


def test_a_pile_of_one_picture_is_no_domain(animals):
    lone = animals.parent / "lone"
    for key, kind, kept in (("A", "cat", 1), ("B", "dog", 5)):
        files = sorted((animals / kind).iterdir())
        for split, some in (("train", files[:kept]), ("val", files[-4:-2]), ("test", files[-2:])):
            (lone / f"{split}{key}").mkdir(parents=True)
            for file in some:
                shutil.copy(file, lone / f"{split}{key}")
    data = opened(lone, pairing="unpaired")
    line = (
        f"{lone}/trainA has 1 picture in train, but needs 2 as a domain; add some (val and test "
        "are taken out of it, unless they have folders)"
    )
    assert data._source.unfit() == [line]
    with pytest.raises(DataError, match="1 picture in train, but needs 2 as a domain; add some"):
        check_fits("cyclegan", CycleGAN, None, data)
    one = one_of(checked(lone, pairing="unpaired", **SIZE), "lone_domain")
    assert (one.level, one.examples) == ("fatal", (line,))


def test_a_single_pair_is_two_piles_of_one(tmp_path):
    for key in "ab":
        for split in ("train", "val", "test"):
            save(tmp_path / split / key.upper() / "0.png", noise(ord(key), 16, 16))
    words = "'a' of .* has 1 picture in train, but needs 2 as a domain"
    with pytest.raises(DataError, match=words):
        check_fits("munit", MUNIT, None, opened(tmp_path))


def test_classes_too_small_to_be_domains(tmp_path):
    folder = tmp_path / "set"
    options = few(folder)
    assert one_of(checked(folder, **SIZE, **options), "few_of_class").level == "warning"
    data = opened(folder, **options)
    data.check()  # labels may be mere labels
    lines = [
        f"the class '{name}' of 'kind' has {count} in train of set, but needs 2 as a domain; add "
        f"some, give them another class, or leave it out of training with --unseen '{name}'"
        for name, count in (("elk", "no pictures"), ("owl", "1 picture"))
    ]
    with pytest.raises(DataError) as caught:
        data.check_classes()
    assert str(caught.value) == "\n  ".join(lines)
    balanced = opened(folder, **options, balanced=True)
    assert balanced._source.unfit() == lines
    one = one_of(checked(folder, **SIZE, **options, balanced=True), "lone_class")
    assert (one.level, one.examples) == ("fatal", tuple(lines))
    some = opened(folder, **options, unseen="owl")
    with pytest.raises(DataError, match=r"^1 problem"):
        some.check()
    both = opened(folder, **options, unseen="owl,elk")
    both.check()
    both.check_classes()


def test_systems_that_need_labels_need_two_pictures_of_each(tmp_path):
    class Needy(System):
        needs, pairs, target = ("image", "label"), False, None

    folder = tmp_path / "set"
    options = few(folder)
    with pytest.raises(
        DataError, match="the class 'elk' of 'kind' has no pictures in train of set"
    ):
        check_fits("needy", Needy, None, opened(folder, **options))
    check_fits("needy", Needy, None, opened(folder, **options, unseen="elk, owl"))
    Needy.needs = ("image",)
    check_fits("needy", Needy, None, opened(folder, **options))


def test_classes_of_a_table_with_equal_files(tmp_path):
    folder = tmp_path / "set"
    for split, count in (("train", 12), ("val", 2), ("test", 2)):
        for number in range(count):
            save(folder / split / f"{number:02}.png", noise(number % 6, 16, 16))

    def refused(kinds: dict[int, str]) -> str:
        rows = [f"train/{number:02}.png,{kind}" for number, kind in kinds.items()]
        table = write_csv(tmp_path, "file,kind", *rows, "val/00.png,cat")
        data = opened(folder, layout="single", labels=str(table))
        data.check()  # labels may be mere labels
        try:
            data.check_classes()
        except DataError as error:
            return str(error)
        return ""

    apart = {number: "cat" if number < 6 else "owl" for number in range(11)}
    assert refused(apart) == (
        "the class 'owl' of 'kind' and the class 'cat' of 'kind' hold the same pictures: all 5 "
        f"training pictures of the first in the second too, such as {folder}/train/06.png = "
        f"{folder}/train/00.png; keep each picture in the one class to which it belongs"
    )
    cats = dict.fromkeys(range(6), "cat")
    assert not refused(cats | {8: "owl", 9: "owl"} | {2: "dog", 5: "dog"}), "2 is no cat"
    assert "'owl' of 'kind' and the class 'cat'" in refused(cats | {8: "owl", 9: "owl"})
