"""A run from its first step to its last: budgets, seeds, stops, extensions, and what is kept."""

import errno
import json
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import dragoman
from dragoman import checkpoint, timing, training
from dragoman.engine import Engine
from dragoman.errors import FileError, SettingsError, TrainingError
from dragoman.journal import Journal
from dragoman.run import Run, _unused
from dragoman.training import Interrupted, resume


@pytest.fixture
def train(tiny, tmp_path):
    """Train a small run into a folder of that name."""

    def train(name: str = "run", system: str = "pix2pix", **over: Any) -> Run:
        settings: dict[str, Any] = {**tiny, "sample_every": 1000, **over}
        return dragoman.train(system, folder=tmp_path / name, **settings)

    return train


@pytest.fixture
def bare(monkeypatch):
    """Leave scores and report out, which these tests do not look at."""
    monkeypatch.setattr(training, "can_evaluate", lambda *_: False)
    monkeypatch.setattr(training, "write_report", lambda *_: None)
    monkeypatch.setattr(training, "validate", lambda *_: {})


def steps(run: Run) -> list[int]:
    return [int(path.stem.removeprefix("step_")) for path in run.checkpoints()]


def journal(run: Run) -> list[int]:
    lines = map(json.loads, (run.folder / "losses.jsonl").read_text().splitlines())
    return [line["step"] for line in lines if "terms" in line]


def state(run: Run) -> dict[str, Any]:
    found = run.load_checkpoint()
    assert found
    return found["engine"]


def same_state(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_state(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        pairs = zip(one, other, strict=True)
        return len(one) == len(other) and all(same_state(a, b) for a, b in pairs)
    return torch.equal(one, other) if torch.is_tensor(one) else one == other


def weights(run: Run) -> bytes:
    return (run.translator / "model.safetensors").read_bytes()


def at_step(monkeypatch, step: int, act) -> None:
    """Do something right after that step."""
    take_step = Engine.take_step

    def acting(engine, stage, batch):
        take_step(engine, stage, batch)
        if engine.done == step:
            act(engine)

    monkeypatch.setattr(Engine, "take_step", acting)


def test_a_run_s_folder_holds_everything(tiny_run):
    folder = tiny_run.folder
    names = {"settings.yaml", "losses.jsonl", "run.json", "scores.json", "report.html"}
    assert names <= {path.name for path in folder.iterdir()}
    assert steps(tiny_run) == [2, 4]
    assert journal(tiny_run) == [2, 4]
    assert {p.name for p in tiny_run.translator.iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
    }
    facts = json.loads((folder / "run.json").read_text())
    assert facts["steps"] == 4
    assert facts["parameters"]["generator"] > 0
    assert {"machine", "started", "torch", "processes", "training_seconds"} <= facts.keys()
    assert 0 < tiny_run.scores["l1"]["mean"] < 1
    assert tiny_run.scores["split"] == "test"
    settings = yaml.safe_load((folder / "settings.yaml").read_text())
    assert (settings["system"], settings["steps"], settings["minutes"]) == ("pix2pix", 4, None)


def test_the_seed_decides_every_weight(train, bare):
    runs = [train(str(n), seed=seed, steps=2) for n, seed in enumerate((5, 5, 6))]
    assert same_state(state(runs[0]), state(runs[1]))
    assert not same_state(state(runs[0])["system"], state(runs[2])["system"])


def test_the_order_of_other_trainings_does_not_matter(train, bare):
    first = train("one", steps=2)
    torch.rand(100)
    train("between", steps=1, seed=9, objective="L1")
    assert same_state(state(first), state(train("two", steps=2)))


@pytest.mark.parametrize(
    ("knobs", "saved"),
    [
        ({"steps": 7, "checkpoint_every": 3, "keep": 9}, [3, 6, 7]),
        ({"steps": 7, "checkpoint_every": 3, "keep": 1}, [7]),
        ({"steps": 16, "keep": 99}, [2, 4, 6, 8, 10, 12, 14, 16]),
        ({"steps": 3, "checkpoint_every": 50}, [3]),
    ],
)
def test_checkpoints_are_where_they_were_asked_for(train, bare, knobs, saved):
    run = train(**knobs)
    assert steps(run) == saved
    assert state(run)["done"] == knobs["steps"]


def test_the_best_is_kept_and_makes_the_translator(train, bare, monkeypatch):
    scores = iter([0.5, 0.3, 0.4, 0.3])  # equal is not better
    monkeypatch.setattr(training, "validate", lambda *_: {"l1": 1.0, "lpips": next(scores)})
    run = train(steps=4, checkpoint_every=1, keep=1)
    assert steps(run) == [2, 4]
    saved = checkpoint.load(run.checkpoints()[0])
    assert saved["best"] == {"step": 2, "stage": "train", "by": "lpips", "score": 0.3}
    translator = dragoman.load(run.folder, "cpu")
    for name, value in saved["engine"]["average"]["generator"].items():
        assert torch.equal(translator.system.state_dict()[f"generator.{name}"], value), name


@pytest.fixture
def a_minute_a_step(monkeypatch):
    """Steps are really timed, but said to take a minute each, on however busy a machine."""
    measure = timing._seconds_per_step
    monkeypatch.setattr(timing, "PATIENCE", 0.01)
    monkeypatch.setattr(timing, "_seconds_per_step", lambda *given: (measure(*given), 60.0)[1])


def test_minutes_become_steps_that_repeat_the_run(train, bare, tmp_path, a_minute_a_step):
    run = train(minutes=10)
    text = (run.folder / "settings.yaml").read_text()
    assert text.startswith("# steps fixed from 10 minutes of training\n")
    settings = run.settings
    assert settings["minutes"] is None
    assert settings["steps"] == 9, "ten minutes less the reserve for all that is not a step"
    taken = json.loads((run.folder / "run.json").read_text())
    assert taken["steps"] == settings["steps"]
    again = dragoman.train(str(run.folder / "settings.yaml"), folder=tmp_path / "again")
    assert same_state(state(run), state(again))
    assert weights(run) == weights(again)


def test_the_smaller_of_steps_and_minutes_counts(train, bare, a_minute_a_step):
    timed, plain = train("timed", minutes=10, steps=2), train("plain", steps=2)
    assert timed.settings["steps"] == 2
    assert same_state(state(timed), state(plain)), "measuring must leave no trace"
    assert train("short", minutes=10, steps=10**9).settings["steps"] == 9


def test_without_a_budget_it_is_some_minutes(train, bare, monkeypatch):
    asked = []
    monkeypatch.setattr(timing, "steps_in", lambda minutes, *_: asked.append(minutes) or 2)
    assert train().settings["steps"] == 2
    assert asked == [training.MINUTES]


def spoil(engine: Engine) -> None:
    with torch.no_grad():
        next(engine.system.parameters()).view(-1)[0] = torch.inf


def test_a_term_that_is_not_finite_leaves_batch_and_last_checkpoint(
    train, bare, monkeypatch, tmp_path
):
    at_step(monkeypatch, 3, spoil)
    run = Run(tmp_path / "run")
    with pytest.raises(
        TrainingError,
        match=r"the term 'discriminator\.fake' is no longer finite at step 3; try a lower --lr, "
        r"--clip 1 or --precision fp32; its batch is saved in .*failed_step_3\.safetensors",
    ):
        train(steps=9, checkpoint_every=2, log_every=1)
    saved = checkpoint.load(run.folder / "failed_step_3.safetensors")
    assert (saved["turn"], saved["term"]) == ("discriminator", "fake")
    assert saved["batch"]["a"].shape == (4, 3, 32, 32)
    assert saved["batch"]["index"].shape == (4,)
    assert steps(run) == [2]
    assert all(v.isfinite().all() for v in state(run)["system"].values())
    assert journal(run) == [1, 2, 3]


def test_a_weight_that_is_not_finite_is_never_saved(train, bare, monkeypatch, tmp_path):
    at_step(monkeypatch, 3, spoil)
    with pytest.raises(
        TrainingError, match=r"no longer finite at step 3; the last good checkpoint"
    ):
        train(steps=9, checkpoint_every=1)
    assert steps(Run(tmp_path / "run")) == [1, 2]


def test_an_extended_run_equals_a_longer_one(train, bare):
    short = train("short", steps=3, checkpoint_every=2)
    assert resume(short.folder, steps=5).settings["steps"] == 5
    long = train("long", steps=5, checkpoint_every=2)
    assert same_state(state(short), state(long))
    assert steps(short)[-1] == 5


def test_fewer_steps_than_taken_are_refused_and_change_nothing(train, bare):
    run = train(steps=3)
    before = (run.folder / "settings.yaml").read_bytes()
    with pytest.raises(SettingsError, match=r"already taken 3 steps, --steps 2 is less; give at l"):
        resume(run.folder, steps=2)
    assert (run.folder / "settings.yaml").read_bytes() == before
    assert resume(run.folder).settings["steps"] == 3


def test_a_finished_run_is_said_to_be_finished_and_written_again(train, capsys):
    run = train(steps=2)
    begun = json.loads((run.folder / "run.json").read_text())
    scores = (run.folder / "scores.json").read_bytes()
    for name in ("scores.json", "report.html"):
        (run.folder / name).unlink()
    capsys.readouterr()
    resume(run.folder)
    told = capsys.readouterr().err
    assert f"{run.folder} is finished, all 2 steps are taken; scores and report are wri" in told
    assert (run.folder / "scores.json").read_bytes() == scores
    assert (run.folder / "report.html").exists()
    now = json.loads((run.folder / "run.json").read_text())
    assert (now["command"], now["started"]) == (begun["command"], begun["started"])
    assert now["best"] == begun["best"]


def test_a_damaged_newest_checkpoint_costs_only_some_steps(train, bare, capsys):
    run = train(steps=4, checkpoint_every=1, log_every=1)
    wanted = state(run)
    newest = run.checkpoints()[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    resume(run.folder)
    told = capsys.readouterr().err
    assert "step_00000004.safetensors is damaged; going on from step_00000003" in told
    assert same_state(state(run), wanted)
    assert journal(run) == [1, 2, 3, 4]


@pytest.mark.parametrize("step", [2, 4])
def test_a_stop_at_any_step_saves_and_goes_on(train, bare, monkeypatch, tmp_path, step):
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        at_step(patch, step, lambda _: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(Interrupted, match=f"stopped at step {step}, everything is saved; go"):
            train(steps=4, checkpoint_every=3, log_every=1)
    assert signal.getsignal(signal.SIGINT) is before
    run = Run(tmp_path / "run")
    assert steps(run)[-1] == step
    resume(run.folder)
    assert same_state(state(run), state(train("whole", steps=4, checkpoint_every=3)))
    assert journal(run) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("second", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Interrupted)]
)
def test_only_a_second_ctrl_c_stops_at_once(train, bare, monkeypatch, tmp_path, second, error):
    def stop(_: Engine) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), second)

    at_step(monkeypatch, 2, stop)
    with pytest.raises(error):
        train(steps=4)
    assert steps(Run(tmp_path / "run"))[-1] == (1 if error is KeyboardInterrupt else 2)


def test_it_trains_in_a_thread_too(train, bare):
    runs: list[Run] = []
    thread = threading.Thread(target=lambda: runs.append(train(steps=1)))
    thread.start()
    thread.join()
    assert steps(runs[0]) == [1]


@pytest.mark.parametrize("place", ["checkpoint", "journal"])
def test_a_full_disk_is_one_sentence_and_nothing_is_lost(train, bare, monkeypatch, tmp_path, place):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def fill(_: Engine) -> None:
        monkeypatch.setattr(
            *((checkpoint, "save_file") if place == "checkpoint" else (Journal, "_write")), full
        )

    with monkeypatch.context() as patch:
        at_step(patch, 3, fill)
        with pytest.raises(FileError, match=r"No space left on device.*free some space"):
            train(steps=6, checkpoint_every=2, log_every=2)
    monkeypatch.undo()
    monkeypatch.setattr(training, "can_evaluate", lambda *_: False)
    monkeypatch.setattr(training, "validate", lambda *_: {})
    run = Run(tmp_path / "run")
    assert steps(run) == [2]
    resume(run.folder)
    whole = train("whole", steps=6, checkpoint_every=2, log_every=2)
    assert same_state(state(run), state(whole))
    assert journal(run) == journal(whole) == [2, 4, 6]


def test_a_moved_run_goes_on_where_it_lies(train, bare, tmp_path):
    run = train(steps=2)
    moved = Path(shutil.move(run.folder, tmp_path / "elsewhere"))
    assert steps(resume(moved, steps=3))[-1] == 3
    assert not run.folder.exists()


def _edit(run: Run, old: str, new: str) -> None:
    path = run.folder / "settings.yaml"
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "\nwidth: 4",
            "\nwidth: 5",
            "the checkpoint does not fit the run's settings; put settings.yaml and the d",
        ),
        ("\nwidth: 4", "\nwidht: 4", r"unknown setting 'widht' in .*settings.yaml \(did you mean"),
        ("\nwidth: 4", "\nwidth: x", "--width must be a whole number, got 'x' in .*settings.yaml"),
        ("system: pix2pix", "system: nope", "unknown system 'nope'"),
        ("system: pix2pix", "", "unknown system ''"),
    ],
)
def test_a_run_whose_settings_were_changed_is_refused(train, bare, old, new, words):
    run = train(steps=1)
    _edit(run, old, new)
    with pytest.raises((FileError, SettingsError), match=words) as caught:
        resume(run.folder)
    assert "\n" not in str(caught.value)


def test_what_is_no_run_is_said_so(tmp_path, tiny_run):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, words in {
        "empty": "is not a run: it has no settings.yaml",
        "emty": r"there is no run .*emty \(did you mean 'empty'\?\)",
        "file": "is a file; name the folder of a run",
        "no/where": "there is no run",
    }.items():
        with pytest.raises(FileError, match=words):
            resume(tmp_path / name)


def test_two_trainings_of_one_moment_get_a_folder_each(monkeypatch, tmp_path):
    taken, free = tmp_path / "taken", tmp_path / "free"
    taken.mkdir()  # after its name was found to be unused
    found = iter([taken, free])
    monkeypatch.setattr("dragoman.run._unused", lambda *_: next(found))
    assert Run.create(None, "x").folder == free


def test_a_run_that_is_being_trained_is_left_alone(train, bare):
    run = train(steps=1)
    with run.alone(), pytest.raises(FileError, match="is being trained by another process; wait"):
        resume(run.folder)
    assert steps(resume(run.folder, steps=2)) == [1, 2]


def test_a_run_without_folder_is_named_by_system_data_and_time(train, bare, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda *_: "20260102-030405")
    path = _unused(Path("runs"), "pix2pix-my_own")
    assert path == Path("runs/pix2pix-my_own-20260102-030405")
    for number in (2, 3):
        path.mkdir(parents=True)
        path = _unused(Path("runs"), "pix2pix-my_own")
        assert path == Path(f"runs/pix2pix-my_own-20260102-030405_{number}")
