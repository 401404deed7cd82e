"""Files that were found sound are not read again, until they change."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from patients import SIZE, before_training, checked, codes_of, noise, save

from dragoman.data import DataSettings
from dragoman.data.doctor import fatal, known, subject
from dragoman.data.tables import open_table


def _count_reading(monkeypatch) -> list[str]:
    """From now on, gather the names of files that the doctor decodes."""
    read, found = subject.read_raster, []

    def counted(blob, *rest):
        found.append(Path(blob.path).name)
        return read(blob, *rest)

    monkeypatch.setattr(subject, "read_raster", counted)
    return found


def test_sound_files_are_read_once_and_altered_ones_again(pairs, monkeypatch):
    read = _count_reading(monkeypatch)
    assert before_training(pairs).lines() == []
    assert len(read) == 80
    assert before_training(pairs).lines() == []
    assert len(read) == 80, "a second start reads nothing"
    save(pairs / "trainB" / "03.png", noise(1, 64, 80))
    assert len(before_training(pairs).lines()) == 1
    assert read[80:] == ["03.png", "03.png"], "only the pair that was altered"
    assert len(before_training(pairs).lines()) == 1, "what is wrong stays wrong"
    save(pairs / "trainB" / "03.png", noise(1, 64, 64))
    assert before_training(pairs).lines() == []


def test_a_check_spares_the_start_the_reading(pairs, monkeypatch):
    checked(pairs)
    read = _count_reading(monkeypatch)
    assert before_training(pairs).lines() == []
    assert not read
    assert before_training(pairs, fit="pad").lines() == []
    assert len(read) == 80, "with other settings other files may be unfit"


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"no array at all" * 40])
def test_a_damaged_memory_is_made_anew(pairs, cache, monkeypatch, content):
    before_training(pairs)
    shutil.rmtree(cache / "facts")
    (memory,) = (cache / "sound").iterdir()
    memory.write_bytes(content)
    read = _count_reading(monkeypatch)
    assert before_training(pairs).lines() == []
    assert len(read) == 80


def test_a_memory_with_a_pickle_is_not_opened(pairs, cache):
    before_training(pairs)
    shutil.rmtree(cache / "facts")
    (memory,) = (cache / "sound").iterdir()
    np.save(memory, np.array([{"not": "data"}], object), allow_pickle=True)
    assert before_training(pairs).lines() == []


def test_without_a_cache_files_are_read_every_time(pairs, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path / "file"))
    read = _count_reading(monkeypatch)
    for _ in range(2):
        assert before_training(pairs).lines() == []
    assert len(read) == 160


def test_of_very_many_files_some_are_decoded_and_all_headers_read(pairs, monkeypatch):
    monkeypatch.setattr(fatal, "MOST_DECODED", 40)
    save(pairs / "trainB" / "03.png", noise(1, 64, 80))
    (pairs / "testA" / "05.png").write_bytes(b"")
    said, read = [], _count_reading(monkeypatch)
    findings = before_training(pairs, say=said.append)
    assert said == [
        f"80 files: decoding 40 of them, and the headers of all; 'dragoman check {pairs}' decodes "
        "all"
    ]
    assert len(read) == 40
    assert sorted(codes_of(findings)) == ["size", "unreadable"]


def test_marks_change_with_the_file(pairs):
    table = open_table(DataSettings(data=str(pairs), size=SIZE))
    before = known.marks(table, "train", "a")
    assert len(set(before.tolist())) == 16
    assert (before != 0).all()
    path = pairs / "trainA" / "03.png"
    os.utime(path, ns=(0, 12345))
    after = known.marks(table, "train", "a")
    assert np.flatnonzero(before != after).tolist() == [3]
    path.unlink()
    assert known.marks(table, "train", "a")[3] == 0
