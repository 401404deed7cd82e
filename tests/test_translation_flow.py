"""Pictures flow through threads in order, stop when asked to, and tell how far they are."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from noisy import COLOUR, GREY, names, noisy, photograph
from PIL import Image

from dragoman.data.raster import read_raster
from dragoman.data.writing import write_raster
from dragoman.errors import DataError, SettingsError
from dragoman.translating import streams, translate
from dragoman.translating.flow import Lanes, ahead, flow, grouped, lanes


def same(one: object, other: object) -> bool:
    return np.array_equal(np.asarray(one), np.asarray(other))


# Order and memory


def test_work_is_done_ahead_but_only_so_far_and_in_order():
    taken, running = [], threading.Event()

    def items():
        for number in range(30):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        running.wait(5)
        time.sleep(0.003 if number % 3 == 0 else 0)  # the slow ones are overtaken
        return number * 10

    with ThreadPoolExecutor(4) as pool:
        results = ahead(pool, work, items(), 5)
        running.set()
        assert next(results) == 0
        assert len(taken) == 6, "five wait beside the one that was asked for"
        assert list(results) == [n * 10 for n in range(1, 30)]


def test_neighbours_that_are_alike_are_grouped():
    groups = list(grouped([1, 1, 1, 2, 2, 1, 3], 2, lambda a, b: a == b))
    assert groups == [[1, 1], [1], [2, 2], [1], [3]]
    assert list(grouped([1, 1], 1, lambda a, b: True)) == [[1], [1]]
    assert list(grouped([], 3, lambda a, b: True)) == []


def test_the_three_stages_run_at_once_and_leaving_early_ends_them():
    busy: dict[str, int] = {"read": 0, "network": 0, "write": 0}
    together, lock = [], threading.Lock()

    def stage(name: str, value):
        with lock:
            busy[name] += 1
            together.append({key for key, count in busy.items() if count})
        time.sleep(0.01)
        with lock:
            busy[name] -= 1
        return value

    before = threading.active_count()
    results = flow(
        iter(range(10**9)),
        lambda n: stage("read", n),
        lambda group: stage("network", group),
        lambda n: stage("write", n),
        2,
        lambda a, b: True,
        Lanes(2, 1, 1),
    )
    assert [next(results) for _ in range(20)] == list(range(20))
    results.close()
    assert any(len(names) == 3 for names in together)
    assert threading.active_count() == before, "no thread stays"


def test_cores_are_divided_among_pictures(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert lanes(3, cpu, None) == Lanes(3, 8, 1), "each core has pictures of its own"
    assert lanes(3, cpu, 2) == Lanes(3, 2, 4), "unless there are few"
    assert lanes(3, cpu, 0).streams == 1
    assert lanes(3, cuda, None) == Lanes(3, 1, 8)
    assert lanes(None, cpu, 5).coders >= 1


def test_larger_pictures_run_fewer_at_once_each_on_more_cores(translator, monkeypatch):
    monkeypatch.setattr(streams, "ROOM", 1000)
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    try:
        shared = streams.Streams(translator)
    finally:
        torch.set_num_threads(before)
    seen, running, lock = [], [0], threading.Lock()

    def run(pixels: int) -> None:
        torch.set_num_threads(1)
        with shared.room(pixels):
            with lock:
                running[0] += pixels
                seen.append((pixels, running[0], torch.get_num_threads()))
            time.sleep(0.01)
            with lock:
                running[0] -= pixels
        assert torch.get_num_threads() == 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, [100, 100, 600, 100, 600, 500, 5000, 100]))
    torch.set_num_threads(before)
    assert len(seen) == 8
    assert all(together <= 1000 or pixels == 5000 for pixels, together, _ in seen)
    assert {pixels: cores for pixels, _, cores in seen} == {100: 1, 500: 4, 600: 5, 5000: 8}


@pytest.mark.parametrize("workers", [1, 5])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("at_test", ["eval", "dropout", "train"])
def test_results_depend_neither_on_threads_nor_on_grouping(tmp_path, workers, batch, at_test):
    translator = noisy(at_test=at_test)
    for number in range(7):
        write_raster(
            tmp_path / f"in/{number}.png", photograph(20 + number // 4, 16) // (number + 1)
        )
    before = torch.get_num_threads(), torch.get_rng_state()
    translate(translator, tmp_path / "in", tmp_path / "out", workers=workers, batch=batch, seed=5)
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    for name in names(tmp_path / "in"):
        wanted = translator(read_raster(tmp_path / "in" / name).pixels, seed=5)
        made = read_raster(tmp_path / "out" / name).pixels
        assert np.abs(made.astype(int) - wanted).max() <= (0 if batch == 1 else 1)


class Drawing:
    """Lets a system draw from PyTorch's own generator, as one with a latent code would."""

    def __init__(self, system):
        self.generate = system.generate

    def __call__(self, batch, controls=None):
        made = self.generate(batch)
        return (made + torch.randn(made.shape[-2:])).clamp(-1, 1)


def test_noise_of_pytorch_s_own_generator_is_the_same_for_every_thread(tmp_path):
    alone, system = noisy(), noisy()
    alone.system.generate = Drawing(alone.system)
    system.system.generate = Drawing(system.system)
    pictures = [photograph(20, 20) // n for n in range(1, 9)]
    wanted = [alone(picture, seed=3) for picture in pictures]
    assert not same(wanted[0], alone(pictures[0], seed=4))
    for _ in range(3):
        assert all(map(same, system.many(pictures, seed=3), wanted))


# Many pictures in Python


def test_many_pictures_of_any_kind_come_back_in_order_and_kind(translator, tmp_path):
    array = photograph(30, 20)
    write_raster(tmp_path / "x.png", array)
    tensor = torch.rand(3, 20, 30) * 2 - 1
    given = [array, Image.fromarray(array), tensor, tensor[None], tmp_path / "x.png"] * 3
    made = list(translator.many((picture for picture in given), seed=2))
    for picture, result in zip(given, made, strict=True):
        wanted = translator(picture, seed=2)
        assert type(result) is type(wanted)
        assert same(result, wanted)
    together = list(translator.many(given, seed=2, batch=4))
    for one, other in zip(made, together, strict=True):
        assert np.asarray(one).shape == np.asarray(other).shape
        assert np.abs(np.asarray(one, float) - np.asarray(other, float)).max() <= 1


def test_many_takes_folders_patterns_and_lists(translator, pictures):
    for text in (pictures, f"{pictures}/**/*"):
        made = list(translator.many(text))
        found = ["clear.webp", "deep/two.jpg", "grey.BMP", "one.png"]
        assert len(made) == 4
        assert all(same(m, translator(pictures / n)) for m, n in zip(made, found, strict=True))


def test_a_bad_one_of_many_is_raised_or_given(translator):
    good, wrong = photograph(8, 8), photograph(8, 8, 1)
    results = translator.many([good, wrong, good])
    assert same(next(results), translator(good))
    with pytest.raises(DataError, match=r"must be an array \[height, width, 3\]"):
        next(results)
    made = list(translator.many([good, wrong, good, Path("none.png")], bad="give", batch=2))
    assert [type(one).__name__ for one in made] == ["ndarray", "DataError", "ndarray", "DataError"]
    assert same(made[2], translator(good))
    with pytest.raises(SettingsError, match="unknown bad 'skip'; known: raise, give"):
        translator.many([], bad="skip")
    with pytest.raises(SettingsError, match="batch and workers must be at least 1"):
        translator.many([], batch=0)


def test_many_takes_only_a_few_pictures_ahead(translator):
    taken = []

    def endless():
        while True:
            taken.append(photograph(8, 8))
            yield taken[-1]

    results = translator.many(endless(), workers=2)
    for _ in range(5):
        next(results)
    assert len(taken) < 20
    results.close()


@pytest.mark.parametrize("picture", [photograph(50, 40), torch.rand(2, 3, 40, 50) * 2 - 1])
def test_large_ones_among_many_are_cut(picture):
    translator = noisy(norm="none", dropout=0.0)
    (made,) = translator.many([picture], tile=32)
    assert same(made, translator(picture, tile=32))
    room = 1 if isinstance(picture, np.ndarray) else 0.01  # its weights are large
    whole = translator(picture, tile=0)
    assert np.abs(np.asarray(made, float) - np.asarray(whole, float)).max() <= room


# Tiles


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".jpg"])
@pytest.mark.parametrize("target", [COLOUR, GREY])
def test_files_in_tiles_equal_the_whole(tmp_path, suffix, target):
    translator = noisy(COLOUR, target, norm="none")
    write_raster(tmp_path / f"in{suffix}", photograph(150, 90))
    made = []
    for tile in (0, 32):
        out = tmp_path / f"{tile}.png"
        translate(translator, tmp_path / f"in{suffix}", out, tile=tile, seed=7)
        made.append(read_raster(out).pixels.astype(int))
    assert np.abs(made[0] - made[1]).max() <= 1
    assert (made[0] != made[1]).mean() < 0.01, "the noise lies where it did"
    assert names(tmp_path) == ["0.png", "32.png", f"in{suffix}"], "no scratch file stays"


def test_stacked_files_in_tiles_equal_the_whole(tmp_path):
    six = {"name": "bands", "kind": "values", "channels": 6}
    translator = noisy(six, COLOUR, norm="none")
    write_raster(tmp_path / "a.tif", photograph(150, 90))
    write_raster(tmp_path / "b.png", 255 - photograph(150, 90))
    made = []
    for tile in (0, 32):
        translate(translator, f"{tmp_path}/a.tif+{tmp_path}/b.png", tmp_path / "o.png", tile=tile)
        made.append(read_raster(tmp_path / "o.png").pixels.astype(int))
    assert np.abs(made[0] - made[1]).max() <= 1


def test_pictures_above_a_threshold_are_cut_unless_forbidden(translator, tmp_path, monkeypatch):
    from dragoman.translating import cutting

    monkeypatch.setattr(cutting, "WHOLE", 900)
    cut = []
    tile = type(translator).tile
    monkeypatch.setattr(
        type(translator), "tile", lambda self, *a, **k: cut.append(a[2]) or tile(self, *a, **k)
    )
    translator(photograph(30, 30))
    assert not cut
    translator(photograph(30, 31))
    translator(photograph(30, 31), tile=0)
    translator(photograph(30, 31), tile=64)
    assert cut == [(31, 30)]
    write_raster(tmp_path / "in/1.png", photograph(31, 32))
    write_raster(tmp_path / "in/2.png", photograph(30, 30))
    translate(translator, tmp_path / "in", tmp_path / "out")
    assert cut == [(31, 30), (32, 31)]


def short_of_memory(translator, monkeypatch, most: int):
    """Let the network run out of memory on more than so many pixels."""
    generate = type(translator.system).generate

    def limited(self, batch, *args):
        pictures = batch["a"]
        if pictures[:, 0].numel() > most and pictures.device.type != "meta":
            raise torch.OutOfMemoryError("out of memory")
        return generate(self, batch, *args)

    monkeypatch.setattr(type(translator.system), "generate", limited)


def test_a_picture_for_which_memory_does_not_suffice_goes_in_tiles(tmp_path, monkeypatch, capsys):
    translator = noisy(norm="none", dropout=0.0)
    wanted = translator(photograph(120, 100))
    for number in range(2):
        write_raster(tmp_path / f"in/{number}.png", photograph(120, 100))
    short_of_memory(translator, monkeypatch, 80 * 80)
    with pytest.warns(UserWarning, match="memory does not suffice: the picture goes on in tiles"):
        made = translator(photograph(120, 100))
    assert np.abs(made.astype(int) - wanted).max() <= 1
    translate(translator, tmp_path / "in", tmp_path / "out", batch=2)
    assert f"{tmp_path}/in/0.png: memory does not suffice: the" in capsys.readouterr().err
    for name in names(tmp_path / "out"):
        made = read_raster(tmp_path / "out" / name).pixels
        assert np.abs(made.astype(int) - wanted).max() <= 1
    with pytest.raises(DataError, match="120x100 pixels in one piece, which --tile 0 asks for"):
        translator(photograph(120, 100), tile=0)
