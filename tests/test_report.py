"""Charts, the scoreboard and the report page."""

import base64
import html
import io
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from dragoman.errors import FileError
from dragoman.report.folder import brief, read_mapping
from dragoman.report.report import write_report
from dragoman.report.samples import save_samples
from dragoman.report.scoreboard import decimals, scoreboard

HOSTILE = "\"><script>alert(1)</script><img src='http://evil.example/x.png' onerror=x> & ]]>"


def flat(count, height, width, value):
    return np.full((count, height, width, 3), value, np.uint8)


def interval(mean, half):
    return {"mean": mean, "low": mean - half, "high": mean + half}


SCORES: dict[str, Any] = {
    "psnr": interval(21.5236, 0.5),
    "lpips": interval(0.41, 0.01),
    "l1": interval(0.07968, 0.004),
    "split": "test",
    "count": 97,
    "data": "earth64",
    "protocol": {"psnr": "per picture, data range 1, mean over pictures"},
    "left_out": {"ms_ssim": "too small for it"},
    "baselines": {
        "constant": {"psnr": interval(16.3, 0.5), "l1": interval(0.151, 0.01)},
        "linear": {
            "psnr": interval(19.4, 0.5),
            "l1": interval(0.104, 0.01),
            "lpips": interval(0.3, 0.1),
        },
    },
}
RUN = {
    "command": "dragoman train pix2pix --data earth64:relief,satellite --minutes 4",
    "machine": "Intel Xeon, 2 cores, 24 GB, no GPU",
    "started": "2026-11-22 02:10",
    "training_seconds": 238.2,
    "steps": 400,
    "dragoman": "0.1.0",
    "torch": "2.13.0",
    "parameters": {"generator": 3012345, "discriminator": 512},
    "best": {"step": 300, "by": "lpips", "score": 0.41},
    "credits": "Satellite pictures: NASA (https://visibleearth.nasa.gov).",
}


def make_run(folder, settings=None, run=RUN, scores=SCORES):
    lines = [
        {
            "step": step,
            "stage": "main",
            "seconds": step * 0.06,
            "pictures_per_second": 140.0,
            "rate": 4e-4,
            "terms": {"generator.l1": 8 + 900 / step, "discriminator.real": 0.7 - step / 1000},
        }
        for step in range(10, 401, 10)
    ] + [{"step": step, "val": {"psnr": 17 + step / 100}} for step in (100, 200, 300, 400)]
    folder.mkdir(exist_ok=True)
    (folder / "losses.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = settings or {"system": "pix2pix", "data": "earth64:relief,satellite", "batch": 16}
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    (folder / "scores.json").write_text(json.dumps(scores))
    (folder / "run.json").write_text(json.dumps(run))
    for step in (100, 200, 300, 400):
        save_samples(
            folder, step, flat(3, 8, 8, 10), flat(3, 8, 8, step // 2), flat(3, 8, 8, 250), "val"
        )
    return folder


class Page(HTMLParser):
    """Collects what tests ask of a page; fails on tags that are not closed in order."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def named(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def read_page(path):
    return Page(path.read_text(encoding="utf-8"))


# Scores


def test_best_follows_the_direction_of_the_metric():
    board = scoreboard(SCORES)
    assert [board.best(m) for m in ("psnr", "lpips", "l1")] == [
        "translator",
        "linear",
        "translator",
    ]
    assert board.cell("translator", "psnr") == ("21.52", "21.02 to 22.02")
    assert board.cell("translator", "l1") == ("0.0797", "0.0757 to 0.0837")
    assert board.cell("constant", "lpips") == ("–", "")
    assert board.heading("psnr") == ("PSNR [dB]", "higher")
    assert [decimals(m) for m in (21.5, -3.0, 0.31, 0.08, 0.0004)] == [2, 2, 3, 4, 5]


def test_unknown_metrics_have_no_best_unless_told():
    assert scoreboard({"odd": {"mean": 1.0}}).best("odd") is None
    told = {"odd": {"mean": 1.0}, "better": {"odd": "high"}}
    told["baselines"] = {"constant": {"odd": {"mean": 2.0}}}
    assert scoreboard(told).best("odd") == "constant"


def with_sets_and_stages():
    """Scores with numbers of a whole split, of several answers and of an earlier stage."""
    own = {"kid_alex": {"mean": -0.4}, "diversity": interval(0.1, 0.01), "hole": interval(4.0, 1)}
    scores: dict[str, Any] = SCORES | own | {"unit": {"hole": "%", "kid_alex": "ignored"}}
    scores["better"] = {"kid_alex": "low", "diversity": "high", "hole": "low"}
    after = {"kid_alex": {"mean": 31.0}, "psnr": interval(23.0, 0.5), "hole": interval(3.0, 1)}
    return scores | {"baselines": SCORES["baselines"] | {"after psnr": after}}


def test_numbers_of_whole_sets_have_no_interval():
    board = scoreboard(with_sets_and_stages())
    assert board.cell("translator", "kid_alex") == ("-0.400", "")
    assert board.cell("after psnr", "kid_alex") == ("31.000", "")
    assert board.heading("kid_alex") == ("KID (AlexNet) [/1000]", "lower")
    assert board.heading("hole") == ("hole [%]", "lower")
    assert (board.best("kid_alex"), board.best("hole")) == ("translator", "after psnr")
    assert board.best("diversity") is None, "no other row has it"
    assert [note.split()[0] for note in board.notes] == ["A", "A"]
    assert scoreboard(SCORES).notes == []
    assert scoreboard({"psnr": interval(20, 1)}).best("psnr") == "translator"


def test_report_shows_sets_and_stages(tmp_path):
    page = read_page(write_report(make_run(tmp_path / "run", scores=with_sets_and_stages())))
    for told in ("after psnr", "KID (AlexNet) [/1000]", "31.000", "diversity (LPIPS)", "hole [%]"):
        assert told in page.text
    assert "A number without an interval is one of all pictures together." in page.text
    assert 'A row "after ..." is the translator as that stage of training left it.' in page.text


@pytest.mark.parametrize(
    "scores", [{}, {"psnr": 3}, {"psnr": {"mean": "x"}}, {"psnr": {"mean": math.nan}}]
)
def test_scores_without_a_metric_are_refused(scores):
    with pytest.raises(FileError, match="holds no metric"):
        scoreboard(scores)


# The page


def test_report_tells_everything_without_asking_outside(tmp_path):
    path = write_report(make_run(tmp_path / "run"))
    assert path == tmp_path / "run" / "report.html"
    page = read_page(path)
    for told in (
        "pix2pix on earth64:relief,satellite",
        "21.52",
        "21.02 to 22.02",
        "0.0797",
        "16.30",
        "97 pictures of the test split",
        "per picture, data range 1",
        "without ms_ssim",
        "step 300 by lpips on val",
        "generator 3.01 M, discriminator 512",
        "Intel Xeon, 2 cores, 24 GB, no GPU",
        RUN["command"],
        "3:58",
        "NASA (https://visibleearth.nasa.gov)",
        "3 examples of the val split",
        "l1 10.25",  # 8 + 900 / 400
        "batch 16",
    ):
        assert told in page.text
    assert not page.named("script")
    assert not page.named("a")
    assert all(attrs["src"].startswith("data:image/webp;base64,") for attrs in page.named("img"))
    assert all(attrs["href"] == "data:," for attrs in page.named("link"))
    outside = {k for _, attrs in page.tags for k, v in attrs.items() if "http" in (v or "")}
    assert not outside
    assert "url(" not in path.read_text()
    assert "@import" not in path.read_text()
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []


def test_report_shows_the_saved_pictures_in_order(tmp_path):
    page = read_page(write_report(make_run(tmp_path / "run")))
    shown = []
    for attrs in page.named("img"):
        data = base64.b64decode(attrs["src"].partition(",")[2])
        shown.append(int(np.array(Image.open(io.BytesIO(data)).convert("RGB"))[4, 4, 0]))
    assert shown == [10, 50, 100, 150, 200, 250, 10, 200, 250, 10, 200, 250]


def test_report_has_a_chart_per_turn_and_metric(tmp_path):
    path = write_report(make_run(tmp_path / "run"))
    charts = re.findall(r'<figure class="chart"><figcaption>([^<]+)', path.read_text())
    assert [c.strip() for c in charts] == [
        "generator",
        "discriminator",
        "PSNR [dB], higher is better",
    ]


def test_bold_marks_the_best_of_each_column(tmp_path):
    text = write_report(make_run(tmp_path / "run")).read_text()
    assert re.findall(r'<span class="best">([^<]+)', text) == ["21.52", "0.0797", "0.300"]


def test_hostile_words_stay_words(tmp_path):
    names = ("command", "machine", "started", "dragoman", "credits")
    hurt = dict.fromkeys(names, HOSTILE) | {
        "parameters": {HOSTILE: 3e6},
        "best": {"step": 1, "by": HOSTILE},
    }
    scores: dict[str, Any] = {
        HOSTILE: {"mean": 1.0},
        "split": HOSTILE,
        "count": HOSTILE,
        "left_out": {HOSTILE: "x"},
    }
    scores |= {"protocol": {HOSTILE: HOSTILE}, "baselines": {HOSTILE: {HOSTILE: {"mean": 2.0}}}}
    folder = make_run(
        tmp_path / "run", {"system": HOSTILE, "data": HOSTILE, HOSTILE: [HOSTILE]}, hurt, scores
    )
    line = {"step": 410, "stage": HOSTILE, "terms": {f"{HOSTILE}.{HOSTILE}": 1.0}}
    line["val"] = {HOSTILE: 2.0}
    with (folder / "losses.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    save_samples(folder, 400, None, flat(2, 8, 8, 1), split=HOSTILE)
    for step in (100, 200, 300):
        (folder / "samples" / f"outputs_{step:06d}.png").unlink()
    path = write_report(folder)
    page = read_page(path)
    assert not page.named("script")
    assert not [attrs for _, attrs in page.tags if "onerror" in attrs]
    assert all(attrs["src"].startswith("data:") for attrs in page.named("img"))
    raw = path.read_text(encoding="utf-8")
    assert "<script" not in raw
    assert raw.count(html.escape(HOSTILE)) >= 15


def test_an_empty_folder_says_how_each_file_is_made(tmp_path):
    folder = tmp_path / "a run"
    folder.mkdir()
    text = read_page(write_report(folder)).text
    assert "settings.yaml is missing. Training writes it from the start: dragoman train" in text
    assert f"scores.json is missing. This command makes it: dragoman evaluate '{folder}'" in text
    assert "losses.jsonl is missing. Going on with the training writes it: dragoman resume" in text
    assert "no sample pictures were saved. Going on with the training" in text
    assert "A run of an unknown system" in text


def test_damaged_files_do_not_stop_the_report(tmp_path):
    folder = make_run(tmp_path / "run")
    for name in ("scores.json", "run.json", "settings.yaml"):
        (folder / name).write_bytes(b"\x00[[[" * 1000)
    (folder / "losses.jsonl").write_bytes(b"\xff\n")
    (folder / "samples" / "outputs_000200.png").write_bytes(b"\x89PNG nothing")
    text = read_page(write_report(folder)).text
    for told in (
        "scores.json is damaged",
        "run.json is damaged",
        "settings.yaml is damaged",
        "holds no line of losses",
        "outputs_000200.png",
    ):
        assert told in text


def test_values_that_are_not_finite_are_counted(tmp_path):
    folder = make_run(tmp_path / "run")
    with (folder / "losses.jsonl").open("a") as file:
        file.write('{"step": 410, "terms": {"generator.l1": null}}\n')
        file.write('{"step": 420, "terms": {"generator.l1": NaN}}\n')
    text = read_page(write_report(folder)).text
    assert "2 values were not finite and are left out" in text


def test_there_must_be_a_folder(tmp_path):
    with pytest.raises(FileError, match="there is no run folder"):
        write_report(tmp_path / "none")


def test_yaml_that_grows_without_end_is_cut_or_refused(tmp_path):
    names = [chr(97 + i) for i in range(20)]
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise(names)
    )
    path = tmp_path / "settings.yaml"
    path.write_text(bomb)
    assert len(brief(read_mapping(path))) < 10_000
    path.write_text("a: &a {x: 1}\nb: {<<: *a}\n")
    with pytest.raises(FileError, match="is damaged"):
        read_mapping(path)
    path.write_text("a: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(FileError, match="is damaged"):
        read_mapping(path)


def test_the_report_needs_no_torch():
    code = (
        "import sys, dragoman.report.report, dragoman.report.card, dragoman.report.samples, "
        "dragoman.report.machine; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
