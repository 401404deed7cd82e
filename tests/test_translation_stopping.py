"""Translating files can be stopped at any time, and tells how far it is."""

import os
import signal
import subprocess
import sys
import time
from io import StringIO

import numpy as np
import pytest
from noisy import names, noisy, photograph
from rich.console import Console

from dragoman.data.raster import read_raster
from dragoman.data.writing import write_raster
from dragoman.translating import translate
from dragoman.translating.files import Stages
from dragoman.translating.inputs import Wide
from dragoman.translating.job import Stopped
from dragoman.translating.progress import Meter

# Stopping


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_finishes_what_it_has_begun(translator, tmp_path, monkeypatch, number):
    for index in range(40):
        write_raster(tmp_path / f"in/{index:02}.png", photograph(20, 20))
    write = Stages.write

    def asked(self, work):
        if work.place.name == "05.png":
            os.kill(os.getpid(), number)
        return write(self, work)

    monkeypatch.setattr(Stages, "write", asked)
    before = signal.getsignal(number)
    with pytest.raises(
        Stopped, match=r"stopped after \d+ of 40 pictures, all of them whole; the s"
    ):
        translate(translator, tmp_path / "in", tmp_path / "out")
    assert signal.getsignal(number) is before
    done = names(tmp_path / "out")
    assert "05.png" in done
    assert len(done) < 25
    for name in done:
        assert np.array_equal(
            read_raster(tmp_path / "out" / name).pixels, translator(photograph(20, 20))
        )
    told = translate(translator, tmp_path / "in", tmp_path / "out")
    assert told.startswith(f"wrote {40 - len(done)} of 40 pictures")


def test_a_picture_in_tiles_is_given_up_half_way(tmp_path, monkeypatch):
    translator = noisy(norm="none")
    write_raster(tmp_path / "in.npy", photograph(300, 300))
    (tmp_path / "out.npy").write_bytes(b"older")
    reads, part = [], Wide.part

    def counted(self, *window):
        reads.append(window)
        if len(reads) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return part(self, *window)

    monkeypatch.setattr(Wide, "part", counted)
    with pytest.raises(Stopped, match="stopped after 0 of 1 pictures"):
        translate(translator, tmp_path / "in.npy", tmp_path / "out.npy", tile=32)
    assert len(reads) < 10
    assert names(tmp_path) == ["in.npy", "out.npy"]
    assert (tmp_path / "out.npy").read_bytes() == b"older"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_stops_with_its_code_and_leaves_nothing_half_written(
    translator, tmp_path, number, code
):
    saved = translator.save(tmp_path / "saved")
    write_raster(tmp_path / "in" / "a.npy", photograph(1200, 1200))
    command = [sys.executable, "-m", "dragoman", "translate", str(saved), str(tmp_path / "in")]
    process = subprocess.Popen(
        [*command, str(tmp_path / "out"), "--tile", "64"], stderr=subprocess.PIPE, text=True
    )
    try:
        end = time.monotonic() + 60
        while not names(tmp_path / "out") and time.monotonic() < end:
            time.sleep(0.05)
        assert names(tmp_path / "out")[0].startswith(".a.npy."), "it is under way"
        process.send_signal(number)
        err = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == code
    assert "dragoman: stopped after 0 of 1 pictures" in err
    assert names(tmp_path / "out") == []


def test_a_kill_leaves_no_output_that_is_torn(translator, tmp_path):
    saved = translator.save(tmp_path / "saved")
    for number in range(400):
        write_raster(tmp_path / f"in/{number:03}.png", photograph(32, 32))
    command = [sys.executable, "-m", "dragoman", "translate", str(saved), str(tmp_path / "in")]
    process = subprocess.Popen([*command, str(tmp_path / "out")], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while len(names(tmp_path / "out")) < 20 and time.monotonic() < end:
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    whole = [name for name in names(tmp_path / "out") if not name.startswith(".")]
    assert len(whole) >= 15
    for name in whole:
        assert read_raster(tmp_path / "out" / name).pixels.shape == (32, 32, 3)


# Progress


def test_progress_without_a_terminal_is_a_line_now_and_then(monkeypatch):
    from dragoman.translating import progress

    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    text = StringIO()
    with Meter(3, Console(file=text, width=200)) as meter:
        time.sleep(0.01)
        meter.advance()
        meter.part("big.tif", 0.5)
        meter.part("big.tif", 1.0)
        meter.advance("big.tif")
        meter.advance()
    lines = text.getvalue().splitlines()
    assert len(lines) == 3, "none at the end"
    assert lines[0].startswith("1 of 3 pictures, ")
    assert lines[0].endswith(" pictures/s, 0:00 left")
    assert lines[1].startswith("big.tif: 50%, ")
    monkeypatch.setattr(progress, "PATIENCE", 100.0)
    assert lines[2].startswith("2 of 3 pictures, ")
    silent = StringIO()
    with Meter(3, Console(file=silent, width=200)) as meter:
        meter.advance()
    assert silent.getvalue() == ""


def test_slow_work_is_told_in_seconds_for_each_picture(monkeypatch):
    from dragoman.translating import progress

    clock = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock[0])
    text = StringIO()
    with Meter(4, Console(file=text, width=200)) as meter:
        clock[0] = 60.0
        meter.part("a.tif", 0.5)
        clock[0] = 90.0
        meter.part("a.tif", 1.0)
        meter.part("b.tif", 0.0)
        clock[0] = 200.0
        meter.part("b.tif", 0.5)
    assert text.getvalue().splitlines() == [
        "a.tif: 50%, 120 s a picture, 7:00 left",
        "b.tif: 0%, 90 s a picture, 4:30 left",
        "b.tif: 50%, 133 s a picture, 5:33 left",
    ]


def test_progress_on_a_terminal_is_a_bar():
    text = StringIO()
    console = Console(file=text, force_terminal=True, width=100)
    with Meter(2, console) as meter:
        time.sleep(0.01)
        meter.advance()
        meter.say("a note")
        assert meter.speed().endswith("pictures/s")
    shown = text.getvalue()
    assert "1 of 2 pictures" in shown
    assert "pictures/s" in shown
    assert "a note" in shown


def test_progress_and_notes_go_to_the_error_stream(translator, pictures, tmp_path, capsys):
    translate(translator, pictures, tmp_path / "out")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("4 of 4 pictures in ")
    translate(translator, pictures / "one.png", tmp_path / "x.png")
    assert capsys.readouterr() == ("", ""), "a single one is quick"
