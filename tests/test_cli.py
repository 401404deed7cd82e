"""The command line: what it prints, what it writes, and with which code it ends."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from dragoman import cli
from dragoman.errors import DataError
from dragoman.settings import knobs
from dragoman.systems import SYSTEMS
from dragoman.training import groups

NEEDED = {
    "train": ["pix2pix", "--data"],
    "resume": ["run", "--steps"],
    "evaluate": ["run", "--split", "--device", "--stage"],
    "interpolate": ["runs", "--alpha", "--out", "--table", "--alphas", "--split", "--device"],
    "report": ["run"],
    "translate": ["run", "source", "out", "--seed", "--device", "--tile", "--again"],
    "styles": ["run", "source", "out", "--count", "--frames", "--seed", "--device"],
    "datasets": [],
    "systems": [],
    "preview": ["data", "--out", "--rows", "--size"],
    "check": ["data", "--json", "--limit", "--examples", "--layout", "--size"],
    "pack": ["data", "out", "--layout", "--columns", "--labels", "--pairing", "--shard_megabytes"],
}


@pytest.fixture
def call(capsys):
    """Run a command; returns its exit code, output and errors."""

    def call(*argv: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main([str(text) for text in argv])
        code = caught.value.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def run(tiny_run, tmp_path):
    """A copy of the finished run, to be written into."""
    return Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))


@pytest.fixture
def loud(run):
    """A run whose weights are so large that its noise can be seen in 8 bits."""
    path = run / "translator" / "model.safetensors"
    state = {k: v * 30 if k.endswith("weight") else v for k, v in load_file(path).items()}
    save_file(state, path)
    return run


def test_every_command_is_covered_here():
    assert list(NEEDED) == list(cli.COMMANDS)


def test_help_is_quick_and_imports_no_torch():
    code = (
        "import os, sys\n"
        "from dragoman.cli import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "heavy = {'torch', 'numpy', 'PIL', 'rich', 'yaml', 'jsonargparse'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "spent = os.times()\n"
        "print(spent.user + spent.system, file=sys.stderr)\n"
    )
    done = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        for _ in range(3)
    ]
    assert all(f"  {name} " in done[0].stdout for name in NEEDED)
    assert min(float(one.stderr) for one in done) < 0.3, "seconds of process time"


def test_the_module_is_a_program():
    command = [sys.executable, "-m", "dragoman"]
    done = subprocess.run([*command, "trian"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "dragoman: unknown command 'trian' (did you mean 'train'?); 'dragoman --help' lists them\n"
    )


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"], ["help"]])
def test_help_lists_the_commands(call, argv):
    code, out, err = call(*argv)
    assert (code, err) == (0, "")
    assert all(f"  {name} " in out for name in cli.COMMANDS)


def test_version(call):
    assert call("--version")[:2] == (0, "dragoman 0.1.0\n")


@pytest.mark.parametrize("name", NEEDED)
def test_every_command_tells_its_parameters(call, name):
    code, out, _ = call(name, "--help")
    assert code == 0
    assert all(word in out for word in NEEDED[name])


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_help_of_train_lists_every_knob_with_its_help(call, system):
    code, out, _ = call("train", system, "--help")
    assert code == 0
    words = " ".join(out.split())
    for one in knobs(groups(system)).values():
        assert f"--{one.name} " in out
        assert " ".join(one.help.split()[:4]) in words, one.name


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["train"], "name a system or a recipe file first; 'dragoman train --help' says how"),
        (["train", "--data", "x"], "name a system or a recipe file first"),
        (
            ["train", "pix2pi"],
            "unknown system 'pix2pi' (did you mean 'pix2pix'?); known: best_of_k",
        ),
        (["train", "pix2pix"], "--data is missing; 'dragoman datasets' lists"),
        (["train", "pix2pix", "--stepz", "3"], "unknown setting '--stepz' (did you mean 'steps'?)"),
        (["train", "nowhere.yaml"], "cannot read the settings file nowhere.yaml"),
        (["resume"], "required: run"),
        (["resume", "nowhere"], "there is no run nowhere"),
        (["resume", "x", "--steps", "many"], "--steps must be a whole number or null, got 'many'"),
        (["resume", "x", "--step", "3"], "unknown setting '--step' (did you mean 'steps'?)"),
        (["evaluate", "nowhere"], "there is no run nowhere"),
        (["report", "nowhere"], "there is no run nowhere"),
        (["report", "a", "b"], "unknown setting 'b'"),
        (["translate", "nowhere", "in"], "required: out"),
        (["translate", "x", "nowhere", "out"], "there is no picture or folder nowhere"),
        (["systems", "all"], "unknown setting 'all'"),
        (["preview", "erth64:a,b"], "--data 'erth64' is neither an embedded data set nor a folder"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(call, argv, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*argv)
    assert (code, out) == (2, "")
    assert err.startswith("dragoman: ")
    assert words in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir()), "nothing was begun"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "dragoman: stopped\n"),
        (BrokenPipeError(), 1, ""),
        (DataError("no pictures"), 2, "dragoman: no pictures\n"),
    ],
)
def test_exit_codes(call, monkeypatch, error, code, words):
    def fail() -> None:
        raise error

    monkeypatch.setitem(cli.COMMANDS, "datasets", fail)
    assert call("datasets") == (code, "", words)


def test_datasets_and_systems(call):
    code, out, _ = call("datasets")
    assert code == 0
    assert "--data earth64:relief,satellite" in out
    assert "openmoji" in out
    code, out, _ = call("systems")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(SYSTEMS)


def test_preview_writes_a_contact_sheet(call, tiny, tmp_path):
    out = tmp_path / "sheet.png"
    code, told, _ = call("preview", tiny["data"], "--size", 32, "--rows", 2, "--out", out)
    assert (code, told) == (0, f"wrote {out}\n")
    with Image.open(out) as picture:
        assert picture.width > 4 * 2 * 32
        assert len(set(picture.convert("L").tobytes())) > 50, "there is something to see"


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--out", "x.nothing", "cannot write --out x.nothing: "),
        ("--out", "no/where/x.png", "cannot write --out no/where/x.png: "),
        ("--rows", 0, "--rows must be from 1 to 1000, got 0"),
        ("--rows", 10**9, "--rows must be from 1 to 1000, got 1000000000"),
        ("--size", 4, "--size must be at least 8, got 4"),
    ],
)
def test_preview_refuses_what_cannot_be(call, tiny, flag, value, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = call("preview", tiny["data"], flag, value)
    assert code == 2
    assert words in err


def test_train_ends_with_scores_and_the_report(call, tiny, tmp_path, monkeypatch):
    folder = tmp_path / "new"
    lacking = ("discriminator_width", "patch")  # knobs of another system
    flags = [f"--{name}={str(v).lower()}" for name, v in tiny.items() if name not in lacking]
    arguments = ["train", "regression", *flags, "--folder", str(folder), "--steps", "1"]
    monkeypatch.setattr(sys, "argv", ["/any/bin/dragoman", *arguments])
    code, out, _ = call(*arguments)
    assert code == 0
    assert out.splitlines()[0].startswith("earth32, test split, 6 pictures")
    for name in ("translator", "constant", "input", "nearest", "linear"):
        assert f"\n{name} " in out
    assert out.endswith(f"report: {folder / 'report.html'}\n")
    told = json.loads((folder / "run.json").read_text())["command"]
    assert shlex.split(told) == ["dragoman", *arguments]


def test_evaluating_a_run_without_translator_says_how_to_make_it(call, run):
    shutil.rmtree(run / "translator")
    code, _, err = call("evaluate", run)
    assert code == 2
    assert "holds no translator yet; it is written with the first checkpoint: 'dragoman r" in err


def test_evaluate_and_report_write_again(call, run):
    before = (run / "scores.json").read_bytes()
    for name in ("scores.json", "report.html"):
        (run / name).unlink()
    code, out, _ = call("evaluate", run)
    assert code == 0
    assert "translator " in out
    assert (run / "scores.json").read_bytes() == before
    code, out, _ = call("report", run)
    assert (code, out) == (0, f"{run / 'report.html'}\n")
    assert (run / "report.html").exists()


def test_evaluate_another_split(call, run):
    before = (run / "scores.json").read_bytes()
    code, out, _ = call("evaluate", run, "--split", "val")
    assert (code, out.split("\n")[0]) == (0, "earth32, val split, 1 pictures (* best)")
    assert json.loads((run / "scores_val.json").read_text())["split"] == "val"
    assert (run / "scores.json").read_bytes() == before
    code, _, err = call("evaluate", run, "--split", "dev")
    assert code == 2
    assert "has no pictures in the split 'dev'; it has train, val, test" in err


def test_resume_of_a_finished_run_and_its_extension(call, run):
    code, out, err = call("resume", run)
    assert code == 0
    assert "is finished, all 4 steps are taken" in err
    assert out.endswith(f"report: {run / 'report.html'}\n")
    code, _, err = call("resume", run, "--steps", 3)
    assert code == 2
    assert "already taken 4 steps, --steps 3 is less; give at least 4" in err


def test_translate_a_file(call, loud, tiny, tmp_path):
    run, source = loud, Path(tiny["data"]) / "testA" / "00.png"
    out = tmp_path / "deep" / "made.jpg"
    assert call("translate", run, source, out)[:2] == (0, f"wrote {out}\n")
    with Image.open(out) as picture:
        assert (picture.size, picture.format) == ((32, 32), "JPEG")
    assert call("translate", run, source, out.parent)[1] == f"wrote {out.parent / '00.png'}\n"
    first = (out.parent / "00.png").read_bytes()
    call("translate", run, source, out.parent, "--seed", 1)
    assert (out.parent / "00.png").read_bytes() != first
    call("translate", run, source, out.parent, "--seed", 0)
    assert (out.parent / "00.png").read_bytes() == first
    assert sorted(os.listdir(out.parent)) == ["00.png", "made.jpg"], "no temporary file stays"


def test_translate_a_folder(call, run, tiny, tmp_path):
    source = tmp_path / "in"
    shutil.copytree(Path(tiny["data"]) / "testA", source / "deep")
    code, out, _ = call("translate", run, source, tmp_path / "out")
    assert (code, out) == (0, f"wrote 6 of 6 pictures to {tmp_path / 'out'}\n")
    names = sorted(os.listdir(source / "deep"))
    assert sorted(os.listdir(tmp_path / "out" / "deep")) == names


@pytest.mark.parametrize(
    ("place", "words"),
    [("out.png", "is the picture itself, which stays"), ("x.xyz", "has no picture ending; use")],
)
def test_translate_refuses_to_write(call, run, tiny, tmp_path, place, words):
    source = tmp_path / "out.png"
    shutil.copy(Path(tiny["data"]) / "testA" / "00.png", source)
    before = source.read_bytes()
    code, _, err = call("translate", run, source, tmp_path / place)
    assert code == 2
    assert words in err
    assert source.read_bytes() == before
