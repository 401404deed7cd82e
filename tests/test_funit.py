"""FUNIT: its terms by hand, classes shown by examples, unseen classes, and what it refuses."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from coloured import COLOURS
from PIL import Image
from synthetic import FACTS, batches, make, picture_batch, runs_of_steps
from test_funit_networks import official
from tiles import furthest, photograph, tiled, untiled
from torch import Tensor
from torch.optim import RMSprop

import dragoman
from dragoman.convert import funit as convert
from dragoman.engine import Engine, EngineSettings
from dragoman.errors import DataError, FileError, SettingsError
from dragoman.pipeline import Translator
from dragoman.settings import build
from dragoman.system import Progress
from dragoman.systems.funit import FUNIT, FUNITControls
from dragoman.translating import translate

START = Progress(0, 10)
SMALL: dict[str, Any] = {"depth": 2, "class_depth": 3, "latent": 6, "mapping_width": 8}
SMALL |= {"discriminator_depth": 3}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def small(**over: Any) -> FUNIT:
    return make("funit", **(SMALL | over))


def near(term: Tensor, value: Any) -> None:
    torch.testing.assert_close(term, torch.as_tensor(value), rtol=1e-4, atol=1e-5)


def class_codes(system: FUNIT, batch: Any) -> Tensor:
    """The mean of the codes of both examples of each picture."""
    encoder = system.generator.class_encoder
    return (encoder(batch["reference"][:, 0]) + encoder(batch["reference"][:, 1])) / 2


# Learning


def test_the_generator_s_terms_are_those_of_the_paper():
    system = small(lambda_matching=3.0, lambda_reconstruction=4.0)
    batch, network = picture_batch(0), system.generator
    real, own, wanted = batch["image"], batch["label"], batch["reference_label"]
    content = network.content(real)
    fake = network.decode(content, class_codes(system, batch))
    again = network.decode(content, network.class_encoder(real))
    made = system.share(batch, START)
    near(made.fake, fake)
    terms = system.generator_loss(batch, made)

    def features(x: Tensor, classes: Tensor) -> Tensor:
        return system.discriminator(x, classes)[1].mean((2, 3))

    fooled = (
        system.discriminator(fake, wanted)[0].mean() + system.discriminator(again, own)[0].mean()
    )
    seen = [features(x, wanted) for x in batch["reference"].unbind(1)]
    near(terms["adversarial"], -fooled / 2)
    near(terms["matching"], 3 * ((seen[0] + seen[1]) / 2 - features(fake, wanted)).abs().mean())
    near(terms["matching_own"], 3 * (features(real, own) - features(again, own)).abs().mean())
    near(terms["reconstruction"], 4 * (again - real).abs().mean())
    assert set(terms) == {"adversarial", "matching", "matching_own", "reconstruction"}


def test_both_encoders_learn_from_both_pictures():
    system, batch = small(), picture_batch(0)
    terms = system.generator_loss(batch, system.share(batch, START))
    learning = [
        next(encoder.parameters())
        for encoder in (system.generator.content, system.generator.class_encoder)
    ]
    for name in ("matching", "matching_own"):  # of the translation, of the picture made anew
        slopes = torch.autograd.grad(terms[name], learning, retain_graph=True)
        assert all(slope.any() for slope in slopes)


def test_the_discriminator_s_reals_are_the_examples():
    system, batch = small(lambda_slope=2.0), picture_batch(0)
    made = system.share(batch, START)
    terms = system.discriminator_loss(batch, made)
    wanted, examples = batch["reference_label"], batch["reference"].clone().requires_grad_(True)
    logits = torch.stack([system.discriminator(x, wanted)[0] for x in examples.unbind(1)])
    fakes = system.discriminator(made.fake, wanted)[0]
    near(terms["real"], (1 - logits).clamp(min=0).mean())
    near(terms["fake"], (1 + fakes).clamp(min=0).mean())
    (slope,) = torch.autograd.grad(logits.mean(), examples)
    near(terms["penalty"], 2 * slope.square().sum() / (4 * 2))
    without = small(lambda_slope=0.0)
    bare = without.discriminator_loss(batch, without.share(batch, START))
    assert set(bare) == {"real", "fake"}
    near(bare["real"], terms["real"])


def test_a_logit_is_that_of_the_picture_s_own_class():
    system, batch = small(), picture_batch(0)
    made = system.share(batch, START)
    other = {**batch, "reference_label": (batch["reference_label"] + 1) % 3}
    for loss in (system.generator_loss, system.discriminator_loss):
        before, after = loss(batch, made), loss(other, made)
        assert any(not torch.equal(before[name], after[name]) for name in before)


def test_the_discriminator_learns_first_and_of_examples_of_the_label_set():
    system = small(domains="tone", examples=5)
    (stage,) = system.stages(10)
    assert stage.data == {"references": 5, "label_set": "tone", "known": ("tone",)}
    assert system.discriminator.last.out_channels == 2
    assert torch.equal(system.labels_of(picture_batch(0)), picture_batch(0)["labels"][:, 1:])
    heard: list[str] = []
    settings = build(EngineSettings, {"average": 0.0, "device": "cpu", "precision": "fp32"})
    engine = Engine(small(), settings, 1, lambda step, turn, _: heard.append(turn))
    list(engine.run(batches))
    assert heard == ["discriminator", "generator"]


def test_a_step_computes_nothing_twice():
    """Examples and own picture have a class code each; D judges anew for G, as it has learned."""
    content, code, decoder = (
        f"generator.{part}" for part in ("content", "class_encoder", "decoder")
    )
    (runs,) = runs_of_steps(small(), [content, code, decoder, "discriminator"], 1)
    assert runs == {content: 1, code: 2, decoder: 2, "discriminator": 2 + 4}


def test_the_adversarial_weight_is_that_of_both_networks():
    plain, doubled, batch = small(), small(lambda_adversarial=2.0), picture_batch(0)
    for name in ("discriminator_loss", "generator_loss"):
        once, twice = (
            getattr(one, name)(batch, one.share(batch, START)) for one in (plain, doubled)
        )
        for term, value in once.items():
            weight = 2 if term in ("real", "fake", "adversarial") else 1
            near(twice[term], weight * value)


def test_optimizers_and_average_are_the_official_ones():
    system = make("funit")
    for network in (system.generator, system.discriminator):
        made = system.optimizer(network)
        assert isinstance(made, RMSprop)
        (group,) = made.param_groups
        assert (group["lr"], group["weight_decay"], group["alpha"]) == (1e-4, 1e-4, 0.99)
    assert system.averaged() == [system.generator]
    assert FUNIT.defaults == {"batch": 64}
    weight = system.discriminator.blocks[2].conv1.weight  # kaiming
    assert weight.std().item() * (weight[0].numel() / 2) ** 0.5 == pytest.approx(1, abs=0.15)


def test_what_it_cannot_learn_from():
    with pytest.raises(SettingsError, match=r"--domains label\+tone names several label sets, of"):
        small(domains="label+tone")
    batch = picture_batch(0)
    batch["labels"][2, 0] = -1
    with pytest.raises(DataError, match="a picture without a class of 'label' is among those"):
        small().share(batch, START)
    with pytest.raises(SettingsError, match=r"at least 16 px, the pictures have 8; use a smaller"):
        make("funit", facts=replace(FACTS, size=(8, 8)))
    with pytest.raises(SettingsError, match=r"at least 33 px.*use a smaller --discriminator_depth"):
        small(discriminator_depth=6)


# Generating


def test_the_class_code_is_the_mean_of_the_references_worked_out_once():
    system, shown = small().eval(), picture_batch(3, 20)["image"]
    runs: list[int] = []
    system.generator.class_encoder.register_forward_hook(lambda *_: runs.append(1))
    batch = picture_batch(0)
    controls = FUNITControls(reference=shown, domain="blue")
    with torch.no_grad(), system.choosing(controls):
        encoded = len(runs)
        made = system.generate(batch)
        assert torch.equal(system.generate(batch, replace(controls, answer=0)), made)
        assert len(runs) == encoded
        code = torch.stack([system.generator.class_encoder(x[None])[0] for x in shown]).mean(0)
        network = system.generator
        near(made, network.decode(network.content(batch["image"]), code.expand(4, -1)))
        other = replace(controls, reference=picture_batch(4, 2)["image"])
        assert not torch.equal(system.generate(batch, other), made)
        assert torch.equal(system.generate(batch), made), "asked for with one batch only"
    assert system.code is None


def test_without_references_it_makes_nothing(tmp_path):
    plain = translator(small())
    with pytest.raises(SettingsError, match="give --reference with some pictures of the class"):
        plain.system.generate(picture_batch(0))
    picture = np.zeros((32, 32, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "in.png")
    with pytest.raises(SettingsError, match="give --reference with some pictures of the class"):
        translate(plain, tmp_path / "in.png", tmp_path / "out.png", domain="red")
    assert not (tmp_path / "out.png").exists()
    said = translate(plain, tmp_path / "in.png", tmp_path / "out.png", reference=picture)
    assert said.startswith("wrote ")
    assert (tmp_path / "out.png").exists()


def translator(system: Any) -> Translator:
    domain = {"name": "photo", "kind": "photo", "channels": 3}
    config = {"system": "funit", "domains": {"image": domain}}
    return Translator(system, config, "cpu")


def test_tiles_are_parts_of_the_whole():
    system, picture = small().eval().requires_grad_(False), photograph(120, 160)
    system.choose(FUNITControls(reference=picture_batch(2)["reference"][0]))
    whole = untiled(system, picture, 0)
    assert furthest(tiled(system, picture, 0, tile=64, norms="exact"), whole) < 1e-4


# A run that has not seen one class


def test_a_run_is_judged_on_the_class_that_it_has_not_seen(funit_run):
    scores = json.loads((funit_run.folder / "scores.json").read_text())
    counts = {name: one["count"] for name, one in scores["directions"].items()}
    assert len(counts) == 12
    assert counts["blue to red"] == 2, "of four pictures two are examples"
    assert counts["red to blue"] == counts["blue to grey"] == 4
    told = next(iter(scores["protocol"].values()))
    assert "of each domain in the training split" in told
    assert "and of red the first of the test split itself" in told
    sheets = list((funit_run.folder / "samples").glob("outputs_*.png"))
    assert sheets
    text = (funit_run.translator / "README.md").read_text()
    assert '.choosing(reference="examples")(' in text
    assert "in.png out.png --reference examples" in text


def test_a_saved_translator_takes_a_class_of_its_own(funit_run):
    loaded = dragoman.load(funit_run.folder)
    noise = np.random.default_rng(0).integers(-30, 30, (40, 52, 3))
    picture = (COLOURS["blue"] + noise).clip(0, 255).astype(np.uint8)  # of one colour norms see 0
    with pytest.raises(SettingsError, match="give --reference"):
        loaded(picture)
    orange = np.full((50, 50, 3), (240, 150, 20), np.uint8)
    made = loaded.choosing(reference=[orange, orange])(picture)
    assert made.shape == picture.shape
    assert np.array_equal(made, loaded.choosing(reference=orange)(picture))
    assert not np.array_equal(made, loaded.choosing(reference=picture)(picture))


# Official weights


def test_official_weights_make_a_system_that_can_be_built_again():
    system = small(max_width=12, blocks=1)
    states = (
        official(system.generator, convert.generator_layers(system.generator)),
        official(system.discriminator, convert.discriminator_layers(system.discriminator)),
    )
    made = convert.funit(*states, FACTS, lr=3e-4)
    assert made.settings.lr == 3e-4
    again = FUNIT(made.settings, FACTS)
    again.load_state_dict(made.state_dict())
    batch = picture_batch(0)
    with torch.no_grad():
        near(again.share(batch, START).fake, system.share(batch, START).fake)
    terms = [one.discriminator_loss(batch, one.share(batch, START)) for one in (again, system)]
    near(terms[0]["real"], terms[1]["real"])
    with pytest.raises(FileError, match="for 3 channels and 3 classes, but this data has 3 and 2"):
        convert.funit(*states, FACTS, domains="tone")
