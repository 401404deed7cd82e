"""Scoring a run: its noise, its answers, its earlier stages, and what it is judged by."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from dragoman import cli, evaluation
from dragoman.controls import Controls
from dragoman.data import DataSettings, open_data
from dragoman.data.catalogue import EARTH, Domain
from dragoman.errors import DataError, FileError
from dragoman.evaluation import Seeded, evaluate, set_metrics, validate
from dragoman.matching import check_same
from dragoman.metrics import METRICS
from dragoman.pipeline import load
from dragoman.report.report import write_report
from dragoman.run import Run
from dragoman.settings import build
from dragoman.system import Facts, System


@pytest.fixture
def run(tiny_run, tmp_path):
    """A copy of the finished run, to be written into. Its generator has dropout."""
    return Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))


def keep_stage(run: Path, name: str, factor: float = 0.5) -> Path:
    """Keep a translator with smaller weights as an earlier stage."""
    place = Path(shutil.copytree(run / "translator", run / "stages" / name))
    (place / "README.md").unlink()
    state = {key: value * factor for key, value in load_file(place / "model.safetensors").items()}
    save_file(state, place / "model.safetensors")
    return place


def batch(count: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"a": torch.rand(count, 3, 32, 32, generator=generator) * 2 - 1}


# Noise


def test_the_noise_of_batch_n_is_that_of_seed_n(run):
    translator = load(run, "cpu")
    seeded = Seeded(translator)
    before = torch.get_rng_state()
    made = [seeded.generate(batch()) for _ in range(2)]
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(*made), "dropout draws"
    for number in (1, 2):
        torch.manual_seed(number)
        assert torch.equal(made[number - 1], translator.generate(batch()))


def test_each_answer_has_noise_of_its_own_and_its_number():
    asked = []

    def generate(batch, controls=None):
        asked.append(controls)
        return torch.rand(2)

    system = SimpleNamespace(given=lambda batch: torch.rand(2), controls=Controls())
    seeded = Seeded(SimpleNamespace(generate=generate, system=system, device="cpu"))  # ty: ignore
    first = seeded.generate({})
    answers = [seeded.answer({}, number) for number in (0, 1, 2)]
    assert torch.equal(answers[0], first)
    assert not torch.equal(answers[1], answers[2])
    assert not torch.equal(answers[1], first)
    assert torch.equal(answers[1], seeded.answer({}, 1))
    assert torch.equal(seeded.given({}), first), "what a mask was drawn with is drawn again"
    assert asked[:3] == [None, Controls(0), Controls(1)]
    assert not torch.equal(seeded.generate({}), first)


def test_scores_of_a_system_with_noise_tell_of_its_answers(tiny_run):
    scores = tiny_run.scores
    told = ["nearest_l1", "nearest_lpips", "diversity", "kid_alex"]
    assert [name for name in scores["better"] if name not in METRICS] == told
    assert scores["nearest_l1"]["mean"] <= scores["l1"]["mean"]
    assert 0 < scores["diversity"]["low"] <= scores["diversity"]["high"]
    assert "kid_alex" in scores["baselines"]["linear"]


# Stages


def test_earlier_stages_stand_beside_the_baselines(run):
    before = json.loads((run / "scores.json").read_text())
    keep_stage(run, "zzz")
    keep_stage(run, "aaa", 1.0)
    scores = evaluate(run, device="cpu")
    assert list(scores["baselines"]) == [*before["baselines"], "after aaa", "after zzz"]
    assert scores["baselines"]["after aaa"]["psnr"] == scores["psnr"] == before["psnr"]
    assert scores["baselines"]["after zzz"]["psnr"] != scores["psnr"]
    page = write_report(run).read_text()
    assert "after zzz" in page
    assert "as that stage of training left it" in page
    assert "after zzz" in (run / "translator" / "README.md").read_text()


def test_earlier_stages_come_in_the_order_of_training(run, monkeypatch):
    names = ("global", "enhancer", "joint")
    stages = [SimpleNamespace(name=name) for name in names]
    monkeypatch.setattr("dragoman.systems.pix2pix.Pix2Pix.stages", lambda self, steps: stages)
    for name in ("enhancer", "global"):
        keep_stage(run, name)
    scores = evaluate(run, device="cpu")
    assert list(scores["baselines"])[-2:] == ["after global", "after enhancer"]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("channels", 4, "the number of channels or classes of 'a' was 4 and is 3; put the pict"),
        ("dtype", "uint16", "the depth of 'a' was uint16 and is uint8"),
        ("high", [7.0], "the upper end of its range of 'a' was 7 and is "),
    ],
)
def test_data_that_has_changed_since_is_refused(run, name, value, told):
    domains = json.loads((run / "translator" / "config.json").read_text())["domains"]
    data = open_data(build(DataSettings, Run.open(run).settings))
    check_same(domains, data)
    domains["a"][name] = value
    with pytest.raises(DataError, match=told):
        check_same(domains, data)


def test_a_stage_is_scored_by_itself(run, capsys):
    place = keep_stage(run, "psnr")
    before = (run / "scores.json").read_bytes()
    scores = evaluate(run, device="cpu", stage="psnr")
    assert not [name for name in scores["baselines"] if name.startswith("after")]
    assert json.loads((run / "scores_stage_psnr.json").read_text()) == scores
    assert f"{scores['psnr']['mean']:.2f}" in (place / "README.md").read_text()
    assert (run / "scores.json").read_bytes() == before
    evaluate(run, "val", device="cpu", stage="psnr")
    assert json.loads((run / "scores_stage_psnr_val.json").read_text())["split"] == "val"
    with pytest.raises(SystemExit) as ended:
        cli.main(["evaluate", str(run), "--stage", "psnr"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("earth32, test split, 6 pictures")


@pytest.mark.parametrize("name", ["psn", "../translator", ""])
def test_a_stage_that_is_not_there_is_refused(run, name):
    with pytest.raises(FileError, match=r"has no earlier stage .* it has kept none"):
        evaluate(run, device="cpu", stage=name)
    keep_stage(run, "psnr")
    with pytest.raises(FileError, match=f"no earlier stage '{name}'.*; it has kept psnr$"):
        evaluate(run, device="cpu", stage=name)
    assert not list(run.glob("scores_*"))


# What is judged


def domains(**named: Domain) -> Any:
    return SimpleNamespace(domains=named, partners=lambda split: True)


def test_land_cover_is_judged_where_the_target_has_its_colours():
    satellite, cover = EARTH.domains["satellite"], EARTH.domains["cover"]
    relief = EARTH.domains["relief"]
    found = set_metrics(domains(a=cover, b=satellite), "a", "b")
    assert [metric.name for metric in found] == ["kid_alex", "land cover"]
    assert "land in the label map" in found[1].numbers[0].protocol
    for source in (relief, Domain("other", "labels", 11, tuple("abcdefghijk"))):
        found = set_metrics(domains(a=source, b=satellite), "a", "b")
        assert "all pixels" in found[1].numbers[0].protocol
    assert len(set_metrics(domains(a=satellite, b=relief), "a", "b")) == 1
    assert len(set_metrics(domains(image=satellite), "image", "image")) == 2


def test_measures_of_the_system_are_taken(run, monkeypatch):
    from dragoman.metrics import psnr_y
    from dragoman.systems.pix2pix import Pix2Pix

    monkeypatch.setattr(Pix2Pix, "measures", lambda self: [psnr_y(4)])
    scores = evaluate(run, device="cpu")
    assert "psnr_y" in scores
    assert "psnr_y" in scores["baselines"]["nearest"]


@pytest.mark.parametrize(("source", "target", "scale"), [("low", "high", 2), ("image", "image", 1)])
def test_validation_of_enlargements_and_of_single_pictures(source, target, scale):
    generator = torch.Generator().manual_seed(1)
    pictures = {
        source: torch.rand(5, 3, 16 * scale, 16, generator=generator)[:, :, :16] * 2 - 1,
        target: torch.rand(5, 3, 16 * scale, 16 * scale, generator=generator) * 2 - 1,
    }

    def generate(batch, controls=None):
        return torch.nn.functional.interpolate(batch[source], scale_factor=scale)

    facts = Facts({source: 3, target: 3}, (16, 16), scale=scale)
    system = System(None, facts)
    system.source, system.target, system.generate = source, target, generate
    data: Any = SimpleNamespace(
        domains=dict.fromkeys((source, target)),
        counts={"val": 5},
        partners=lambda split: True,
        rows=lambda split, numbers: {key: value[numbers] for key, value in pictures.items()},
    )
    found = validate(system, data, torch.device("cpu"))
    expected = METRICS["l1"].measure(generate(pictures), pictures[target]).mean()
    assert found["l1"] == pytest.approx(expected.item(), rel=1e-5, abs=1e-7)
    assert ("lpips" in found) == (scale == 2)


def test_validation_of_several_answers_takes_the_nearest(monkeypatch):
    near, far, true = torch.full((4, 1, 8, 8), 0.5), -torch.ones(4, 1, 8, 8), torch.ones(4, 1, 8, 8)
    system = System(None, Facts({"a": 1, "b": 1}, (8, 8)))
    monkeypatch.setattr(System, "answers", 2)
    answers = [far, near]
    system.generate = lambda batch, controls=None: answers[(controls or system.controls).answer]
    data: Any = SimpleNamespace(
        domains=dict.fromkeys("ab"),
        counts={"val": 4},
        partners=lambda split: True,
        rows=lambda split, numbers: {"a": true[numbers], "b": true[numbers]},
    )
    found = validate(system, data, torch.device("cpu"))
    assert found["l1"] == pytest.approx(1)
    assert found["nearest_l1"] == pytest.approx(0.25)


def test_answers_are_at_most_six(run, monkeypatch):
    translator = load(run, "cpu")
    data = domains(a=EARTH.domains["relief"], b=EARTH.domains["relief"])
    for answers, judged in ((1, 1), (3, 3), (9, 6), (None, 6)):
        monkeypatch.setattr(type(translator.system), "answers", answers)
        assert evaluation._judged(translator, data, {}, True).answers == judged
