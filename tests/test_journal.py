"""The journal averages terms, writes whole lines, survives a kill and shows progress."""

import io
import json
import subprocess
import sys
import time

import pytest
import torch
from rich.console import Console

from dragoman.journal import Journal, duration, read_journal


def lines(folder):
    return list(read_journal(folder / "losses.jsonl"))


def test_averages_since_the_last_line_by_turn_and_term(tmp_path):
    with Journal(tmp_path, steps=4, every=2, live=False) as journal:
        journal.stage("main")
        for step, (l1, gan) in enumerate([(1.0, 10.0), (3.0, 20.0), (5.0, 1.0), (6.0, 2.0)], 1):
            journal.terms(step, "generator", {"l1": torch.tensor(l1), "gan": torch.tensor(gan)})
            if step % 2 == 0:  # a turn that is taken every other step
                journal.terms(step, "critic", {"penalty": torch.tensor(0.5 * step)})
            time.sleep(0.002)  # seconds are written to a thousandth
            journal.step(step, pictures=8, rate=2e-4)
    first, second = lines(tmp_path)
    assert first["terms"] == {"generator.l1": 2.0, "generator.gan": 15.0, "critic.penalty": 1.0}
    assert second["terms"] == {"generator.l1": 5.5, "generator.gan": 1.5, "critic.penalty": 2.0}
    assert (first["step"], second["step"]) == (2, 4)
    assert (first["stage"], first["rate"]) == ("main", 2e-4)
    assert 0 < first["seconds"] < second["seconds"]


def test_the_terms_are_copied_and_read_only_when_a_line_is_due(tmp_path):
    term = torch.tensor(3.0, dtype=torch.bfloat16, requires_grad=True)
    with Journal(tmp_path, steps=10, every=10, live=False) as journal:
        journal.terms(1, "generator", {"l1": term})
        with torch.no_grad():
            term.fill_(100.0)
        journal.step(1, 4, 1e-3)
        assert not (tmp_path / "losses.jsonl").exists()
    (line,) = lines(tmp_path)  # closing writes what is left
    assert line["step"] == 1
    assert line["terms"] == {"generator.l1": 3.0}


def test_bf16_terms_are_averaged_in_float32(tmp_path):
    with Journal(tmp_path, steps=512, every=512, live=False) as journal:
        for step in range(1, 513):  # a bf16 sum of ones would stop at 256
            journal.terms(step, "generator", {"l1": torch.ones((), dtype=torch.bfloat16)})
            journal.step(step, 1, 1e-3)
    assert lines(tmp_path)[0]["terms"] == {"generator.l1": 1.0}


def test_last_step_is_written_and_speed_counts_pictures(tmp_path):
    with Journal(tmp_path, steps=3, every=10, live=False) as journal:
        for step in (1, 2, 3):
            time.sleep(0.02)
            journal.step(step, 16, 1e-3)
        (line,) = lines(tmp_path)  # before closing
    assert line["step"] == 3
    assert line["pictures_per_second"] == pytest.approx(48 / line["seconds"], rel=0.05)


def test_pauses_are_no_training_time(tmp_path):
    with Journal(tmp_path, steps=1, live=False) as journal:
        journal.stage("main")
        with journal.pause():
            time.sleep(0.2)
        journal.step(1, 1, 1e-3)
    assert lines(tmp_path)[0]["seconds"] < 0.1


def test_a_line_written_in_a_pause_counts_nothing_of_it(tmp_path):
    with Journal(tmp_path, steps=2, every=9, live=False) as journal:
        journal.step(1, 1, 1e-3)
        with journal.pause():
            time.sleep(0.2)
            journal.flush()
        time.sleep(0.02)
        journal.step(2, 1, 1e-3)
    first, second = lines(tmp_path)
    assert first["seconds"] < 0.1
    assert second["seconds"] - first["seconds"] >= 0.02
    assert second["pictures_per_second"] <= 50


def test_values_that_are_not_finite_are_null(tmp_path):
    with Journal(tmp_path, steps=1, live=False) as journal:
        journal.terms(1, "generator", {"l1": torch.tensor(float("nan"))})
        journal.step(1, 1, 1e-3)
        journal.scores(1, {"psnr": float("inf"), "l1": 0.08})
    text = (tmp_path / "losses.jsonl").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert lines(tmp_path)[0]["terms"] == {"generator.l1": None}
    assert lines(tmp_path)[1] == {"step": 1, "val": {"psnr": None, "l1": 0.08}}


def test_a_new_stage_writes_what_the_old_one_left(tmp_path):
    with Journal(tmp_path, steps=9, every=4, live=False) as journal:
        for stage, steps in (("first", (1, 2, 3)), ("second", (4, 5))):
            journal.stage(stage)
            for step in steps:
                journal.terms(step, "generator", {"l1": torch.tensor(float(step))})
                journal.step(step, 1, 1e-3)
    got = [(line["step"], line["stage"], line["terms"]["generator.l1"]) for line in lines(tmp_path)]
    assert got == [(3, "first", 2.0), (4, "second", 4.0), (5, "second", 5.0)]


def write_torn(folder):
    whole = [
        {"step": 10, "stage": "main", "seconds": 1.5, "terms": {"generator.l1": 4.0}},
        {"step": 10, "val": {"psnr": 18.0}},
        {"step": 20, "stage": "main", "seconds": 3.0, "terms": {"generator.l1": 3.0}},
    ]
    text = "".join(json.dumps(line) + "\n" for line in whole) + '{"step": 30, "stage": "ma'
    (folder / "losses.jsonl").write_text(text)
    return whole


def test_rewind_drops_later_lines_and_a_torn_one_and_seconds_go_on(tmp_path):
    whole = write_torn(tmp_path)
    journal = Journal(tmp_path, steps=40, every=10, live=False)
    journal.rewind(15)
    assert (tmp_path / "losses.jsonl").read_text() == "".join(
        json.dumps(line) + "\n" for line in whole[:2]
    )
    for step in range(11, 21):
        time.sleep(0.005)
        journal.step(step, 4, 1e-3)
    journal.close()
    assert [line["step"] for line in lines(tmp_path)] == [10, 10, 20]
    assert 1.54 < lines(tmp_path)[-1]["seconds"] < 2.5
    assert [path.name for path in tmp_path.iterdir()] == ["losses.jsonl"]


def test_rewind_before_anything_was_written(tmp_path):
    journal = Journal(tmp_path, steps=40, live=False)
    journal.rewind(0)
    journal.close()
    assert lines(tmp_path) == []


def test_writing_after_a_torn_line_without_rewind_keeps_the_new_line(tmp_path):
    write_torn(tmp_path)
    with Journal(tmp_path, steps=40, live=False) as journal:
        journal.scores(30, {"psnr": 20.0})
    assert [line["step"] for line in lines(tmp_path)] == [10, 10, 20, 30]


def test_foreign_lines_are_skipped(tmp_path):
    path = tmp_path / "losses.jsonl"
    path.write_bytes(
        b'[1]\n{"step": "x"}\n\x00\x00\xff\n' + b"[" * 100_000 + b'\n{"step": 5, "val": {}}\n'
    )
    assert list(read_journal(path)) == [{"step": 5, "val": {}}]


def test_a_killed_process_loses_at_most_the_lines_not_yet_due(tmp_path):
    code = (
        "import os, pathlib, signal\n"
        "from dragoman.journal import Journal\n"
        f"journal = Journal(pathlib.Path({str(tmp_path)!r}), steps=100, every=5, live=False)\n"
        "for step in range(1, 34): journal.step(step, 1, 1e-3)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert [line["step"] for line in lines(tmp_path)] == [5, 10, 15, 20, 25, 30]


def test_importing_the_journal_does_not_import_torch():
    code = "import sys, dragoman.journal; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def run_on(console, folder, steps=30):
    with Journal(folder, steps=40, every=10, console=console) as journal:
        for step in range(1, steps + 1):
            journal.terms(step, "generator", {"l1": torch.tensor(8.123456)})
            journal.terms(step, "discriminator", {"real": torch.tensor(0.7)})
            journal.step(step, 16, 1e-3)
        journal.scores(steps, {"psnr": 20.912345})


def test_a_plain_line_now_and_then_where_there_is_no_terminal(tmp_path):
    out = io.StringIO()
    run_on(Console(file=out, width=80, force_terminal=False), tmp_path)
    progress, scores = out.getvalue().splitlines()  # three windows, but ten seconds apart
    assert progress.startswith("step 10 of 40 · ")
    assert progress.endswith(" left · generator.l1 8.123 · discriminator.real 0.7")
    assert " pictures/s · " in progress
    assert scores == "val at step 30: psnr 20.91"


@pytest.mark.parametrize("width", [40, 60, 100])
def test_the_live_display_fits_the_terminal(tmp_path, width):
    out = io.StringIO()
    console = Console(file=out, width=width, height=20, force_terminal=True, color_system=None)
    with Journal(tmp_path, steps=2000, every=10, console=console) as journal:
        names = [f"term{i}" for i in range(9)]
        for step in range(1, 11):
            journal.terms(step, "generator", {name: torch.tensor(1234.5678) for name in names})
            journal.step(step, 16, 1e-3)
        journal.scores(10, {"psnr": 20.912345})
        assert journal._screen is not None
        shown = console.render_lines(journal._screen.render(), pad=False)
    rows = ["".join(segment.text for segment in row) for row in shown]
    assert rows[0].startswith("step 10 of 2000")
    assert max(len(row) for row in rows) <= width
    text = " ".join(rows)
    assert all(f"generator.{name} 1235" in text for name in names)
    assert "psnr 20.91" in text


def test_silent_when_not_live(tmp_path, capfd):
    with Journal(tmp_path, steps=10, every=5, live=False, tensorboard=False) as journal:
        for step in range(1, 11):
            journal.step(step, 16, 1e-3)
        journal.scores(10, {"psnr": 20.0})
    assert capfd.readouterr() == ("", "")


def test_tensorboard_events_hold_the_same_numbers(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with Journal(tmp_path, steps=20, every=10, live=False, tensorboard=True) as journal:
        for step in range(1, 21):
            journal.terms(step, "generator", {"l1": torch.tensor(float(step))})
            journal.step(step, 16, 1e-3)
        journal.scores(20, {"psnr": 20.5})
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    got = [(event.step, event.value) for event in events.Scalars("generator/l1")]
    assert got == [(10, 5.5), (20, 15.5)]
    assert [event.value for event in events.Scalars("val/psnr")] == [20.5]


def test_without_tensorboard_a_sentence_says_how_to_add_it(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    out = io.StringIO()
    console = Console(file=out, width=80)
    with Journal(tmp_path, steps=10, every=5, tensorboard=True, console=console) as journal:
        journal.step(5, 1, 1e-3)
    assert "pip install 'dragoman[track]'" in out.getvalue()
    assert not (tmp_path / "tensorboard").exists()


def test_durations_are_easy_to_read():
    assert [duration(s) for s in (0, 42.4, 61, 3725)] == ["0:00", "0:42", "1:01", "1:02:05"]
