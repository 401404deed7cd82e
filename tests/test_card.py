"""The line about the machine and the model card."""

import re
from typing import Any

import pytest
from huggingface_hub import ModelCard

from dragoman.report import machine as machines
from dragoman.report.card import model_card


def interval(mean, half):
    return {"mean": mean, "low": mean - half, "high": mean + half}


SCORES = {
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
# The machine


def test_machine_line_of_this_machine():
    line = machines.machine()
    assert re.fullmatch(r".+, \d+ cores?, \d+ GB, .*GPU.*", line)
    assert f"{machines.cores()} core" in line


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "Intel Xeon"),
        ("AMD Ryzen 9 5950X 16-Core Processor", "AMD Ryzen 9 5950X"),
        ("Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz", "Intel Core i7-8650U"),
    ],
)
def test_processor_names_are_plain(given, said):
    assert machines.plain(given) == said


def test_container_limits_count(monkeypatch):
    files = {
        "/sys/fs/cgroup/cpu.max": "100000 100000\n",
        "/sys/fs/cgroup/memory.max": "1073741824\n",
    }
    monkeypatch.setattr(machines, "text_of", lambda path: files.get(path, ""))
    assert machines.cores() == 1
    assert machines.memory() == 1 << 30


# The card


def read_card(text) -> Any:  # Any: the Hub's class takes its fields from the text
    return ModelCard(text).data


CONFIG = {
    "library": "dragoman",
    "version": "0.1.0",
    "system": "pix2pix",
    "settings": {"lambda_l1": 100.0, "network": "unet"},
    "facts": {"channels": {"a": 3, "b": 3}, "size": [64, 64], "labels": 0, "images": 2131},
    "domains": {"a": {"name": "relief"}, "b": {"name": "satellite"}},
    "data": "earth64:relief,satellite",
    "training": {
        "data": "earth64:relief,satellite",
        "steps": 2000,
        "batch": 16,
        "clip": None,
    },
}


def test_card_has_front_matter_that_the_hub_reads():
    card = read_card(model_card(CONFIG, SCORES, "Pictures: NASA."))
    assert card.license == "apache-2.0"
    assert card.library_name == "dragoman"
    assert card.pipeline_tag == "image-to-image"
    assert "pix2pix" in card.tags
    found = {result.metric_type: result.metric_value for result in card.eval_results}
    assert found == {"psnr": 21.5236, "lpips": 0.41, "l1": 0.07968}


def test_card_tells_use_data_scores_limits_and_credits():
    text = model_card(CONFIG, SCORES, "Pictures: NASA.\nRelief: Tom Patterson.")
    for told in (
        "A translator from relief to satellite",
        "64 x 64 px",
        'dragoman.load("FOLDER")',
        "dragoman translate FOLDER in.png out.png",
        "2,131 training pictures",
        "| batch | 16 |",
        "| lambda\\_l1 | 100.0 |",
        "| translator | **21.52** (21.02 to 22.02) |",
        "| linear | 19.40 (18.90 to 19.90) | **0.300** (0.200 to 0.400) |",
        "97 pictures of the test split",
        "## Limits",
        "Pictures: NASA.",
        "Relief: Tom Patterson.",
    ):
        assert told in text
    assert "clip" not in text


def test_card_tells_of_sets_and_stages():
    scores: dict[str, Any] = SCORES | {"kid_alex": {"mean": 12.5}}
    assert "without an interval" not in model_card(CONFIG, SCORES, "")
    scores["baselines"] = {"after psnr": {"kid_alex": {"mean": 31.0}}}
    text = model_card(CONFIG, scores, "")
    assert "A number without an interval is one of all pictures together." in text
    assert 'A row "after ..." is the translator as that stage of training left it.' in text
    assert "| after psnr | – | – | – | 31.00 |" in text
    assert "**12.50** |" in text


def test_card_without_scores_or_facts_says_so():
    text = model_card({"system": "regression", "data": "my/pictures"}, None, "")
    assert "Not judged yet: `dragoman evaluate RUN`" in text
    assert read_card(text).license == "other"
    assert "depends on the pictures" in text


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"training": {"data": "openmoji64:line,colour"}}, "cc-by-sa-4.0"),
        ({"training": {"data": "openmoji_mine,earthquakes"}}, "other"),
        ({"license": "mit"}, "mit"),
    ],
)
def test_card_names_the_licence(config, name):
    assert read_card(model_card(config, None, "")).license == name


def test_hostile_words_do_not_break_the_card():
    evil = "x\n---\nlicense: evil\n| a | b |\n<script>alert(1)</script> [l](http://evil.example)"
    config = CONFIG | {"system": evil, "data": evil, "settings": {evil: evil}}
    config["training"] = {"data": evil}
    text = model_card(config, SCORES | {"split": evil}, evil)
    card = read_card(text)
    assert card.license == "other"
    body = text.split("\n---\n", 1)[1]
    assert "\n---" not in body
    assert not re.search(r"(?<!\\)<script", body)
    assert not re.search(r"(?<!\\)\[l", body)
