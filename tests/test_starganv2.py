"""StarGAN v2: its terms by hand, the course of a step, and styles drawn or shown."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from synthetic import FACTS, KEYS, batches, make, picture_batch
from test_stargan_networks import official
from tiles import furthest, photograph, tiled, untiled
from torch import Tensor, nn
from torch.nn import functional

from dragoman.convert import starganv2 as convert
from dragoman.data import DataSettings, open_data
from dragoman.engine import Engine, EngineSettings
from dragoman.errors import DataError, FileError, SettingsError
from dragoman.pipeline import Translator
from dragoman.settings import build
from dragoman.system import Facts, Progress
from dragoman.systems.starganv2 import StarGANv2, StarGANv2Controls
from dragoman.tiling import passage

START = Progress(0, 10)
NETWORKS = ("generator", "mapping_network", "style_encoder", "discriminator")
SMOOTH: dict[str, Any] = {
    "depth": 1,
    "norm": "layer",
    "upsample": "bilinear",
    "border": "replicate",
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def near(term: Tensor, value: Any, atol: float = 1e-6) -> None:
    torch.testing.assert_close(term, torch.as_tensor(value), rtol=1e-4, atol=atol)


def l1(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).abs().mean()


def seen(**how: Any) -> StarGANv2Controls:
    return StarGANv2Controls(**how)


WEIGHTS: dict[str, Any] = {"lambda_style": 3.0, "lambda_cycle": 4.0, "lambda_diversity": 5.0}


def check_terms(system: Any, batch: Any, terms: Any, styles: list[Tensor]) -> None:
    """The terms of equations 1 to 4, given both styles."""
    real, own, target = batch["image"], batch["label"], batch["reference_label"]
    fake, second = (system.generator(real, style) for style in styles)
    back = system.generator(fake, system.style_encoder(real, own))
    near(terms["adversarial"], functional.softplus(-system.discriminator(fake, target)).mean())
    near(terms["style"], 3 * l1(system.style_encoder(fake, target), styles[0]))
    near(terms["cycle"], 4 * l1(back, real))
    near(terms["diversity"], -5 * l1(fake, second))
    assert set(terms) == {"adversarial", "style", "cycle", "diversity"}


def test_the_terms_of_drawn_styles_are_those_of_the_paper():
    system, batch = make("starganv2", **WEIGHTS), picture_batch(0)
    torch.manual_seed(5)
    drawn = system.share(batch, START)
    torch.manual_seed(5)
    noise = torch.randn(4, 2, 16)
    styles = [system.mapping_network(z, batch["reference_label"]) for z in noise.unbind(1)]
    near(drawn.fake, system.generator(batch["image"], styles[0]))
    check_terms(system, batch, system.generator_latent_loss(batch, drawn), styles)


def test_the_terms_of_shown_styles_are_those_of_the_paper():
    system, batch = make("starganv2", **WEIGHTS), picture_batch(0)
    drawn, target = system.share(batch, START), batch["reference_label"]
    styles = [system.style_encoder(x, target) for x in batch["reference"].unbind(1)]
    terms = system.generator_reference_loss(batch, drawn)
    check_terms(system, batch, terms, styles)
    (slope,) = torch.autograd.grad(terms["adversarial"], next(system.generator.parameters()))
    assert slope.any()


def test_styles_learn_but_not_from_the_second_picture():
    system, batch = make("starganv2"), picture_batch(0)
    drawn = system.share(batch, START)
    terms = system.generator_latent_loss(batch, drawn)

    def slope(name: str, of: Tensor) -> Tensor:
        return torch.autograd.grad(terms[name], of, retain_graph=True)[0]

    first, second = slope("diversity", drawn.styles).unbind(1)
    assert first.any()
    assert not second.any()
    for name in ("style", "adversarial"):
        assert slope(name, next(system.mapping_network.parameters())).any()
    assert slope("cycle", next(system.style_encoder.parameters())).any()


@pytest.mark.parametrize("way", ["latent", "reference"])
def test_the_discriminator_judges_each_picture_in_its_domain(way):
    system, batch = make("starganv2", lambda_r1=2.0), picture_batch(0)
    drawn, own, target = system.share(batch, START), batch["label"], batch["reference_label"]
    fake = drawn.fake
    if way == "reference":
        style = system.style_encoder(batch["reference"][:, 0], target)
        fake = system.generator(batch["image"], style)
    terms = getattr(system, f"discriminator_{way}_loss")(batch, drawn)
    real = batch["image"].clone().requires_grad_(True)
    judged = system.discriminator(real, own)
    (slope,) = torch.autograd.grad(judged.sum(), real, retain_graph=True)
    near(terms["real"], functional.softplus(-judged).mean())
    near(terms["fake"], functional.softplus(system.discriminator(fake, target)).mean())
    near(terms["penalty"], 2 * slope.square().sum((1, 2, 3)).mean() / 2)
    plain = make("starganv2", lambda_r1=0.0)
    bare = getattr(plain, f"discriminator_{way}_loss")(batch, plain.share(batch, START))
    assert set(bare) == {"real", "fake"}
    near(bare["real"], terms["real"])


def test_the_weight_of_diversity_falls_to_nothing():
    system, batch = make("starganv2", lambda_diversity=2.0), picture_batch(0)
    weights = [system.share(batch, Progress(step, 100)).diversity for step in (0, 50, 75, 99)]
    near(torch.tensor(weights), torch.tensor([2, 1, 0.5, 0.02]))
    without = make("starganv2", lambda_diversity=0.0)
    terms = without.generator_latent_loss(batch, without.share(batch, START))
    assert "diversity" not in terms


def test_a_step_has_four_turns_and_no_network_runs_twice_for_the_same():
    """G: fakes and second pictures of both ways, one fake for D, two ways back: 7, officially 8."""
    system, runs = make("starganv2"), dict.fromkeys(NETWORKS, 0)

    def counting(name: str) -> None:
        def count(*_: Any) -> None:
            runs[name] += 1

        getattr(system, name).register_forward_hook(count)

    for name in NETWORKS:
        counting(name)
    heard: list[str] = []
    settings = build(EngineSettings, {"average": 0.0, "device": "cpu", "precision": "fp32"})
    engine = Engine(system, settings, 1, lambda step, turn, _: heard.append(turn))
    list(engine.run(batches))
    assert heard == [
        "discriminator_latent",
        "discriminator_reference",
        "generator_latent",
        "generator_reference",
    ]
    (stage,) = system.stages(1)
    generator, mapping, encoder, discriminator = (getattr(system, name) for name in NETWORKS)
    assert [turn.networks for turn in stage.turns] == [
        [discriminator],
        [discriminator],
        [generator, mapping, encoder],
        [generator],
    ]
    # E: a style for D, two pictures; then both references at once and two pictures more.
    expected = {"generator": 7, "mapping_network": 1, "style_encoder": 6, "discriminator": 6}
    assert runs == expected


def test_the_loader_is_asked_for_references_of_the_label_set():
    system = make("starganv2", domains="tone")
    (stage,) = system.stages(10)
    assert stage.data == {"references": 2, "label_set": "tone", "known": ("tone",)}
    assert len(system.mapping_network.heads) == 2
    batch = picture_batch(0)
    assert torch.equal(system.labels_of(batch), batch["labels"][:, 1:])


def test_it_learns_from_the_loader_s_batches():
    data = open_data(DataSettings(data="earth64:topo/relief/satellite"))
    system, heard = make("starganv2", facts=data.facts), []
    settings = build(EngineSettings, {"device": "cpu", "precision": "fp32"})
    engine = Engine(system, settings, 1, lambda *told: heard.append(told))
    list(engine.run(partial(data.batches, batch=2, seed=0)))
    assert len(heard) == 4
    assert system.domains() == {"domain": ("topo", "relief", "satellite")}


def test_optimizers_and_averages_are_the_official_ones():
    system = make("starganv2")
    rates = {}
    for name in NETWORKS:
        (group,) = system.optimizer(getattr(system, name)).param_groups
        rates[name] = group["lr"]
        assert (group["betas"], group["weight_decay"]) == ((0.0, 0.99), 1e-4)
    assert rates == dict.fromkeys(NETWORKS, 1e-4) | {"mapping_network": 1e-6}
    assert system.averaged() == [getattr(system, name) for name in NETWORKS[:3]]
    assert system.generates() == system.averaged()
    assert StarGANv2.defaults == {"batch": 8, "balanced": True}


def test_what_it_cannot_learn_from():
    with pytest.raises(SettingsError, match=r"--domains label\+tone names several label sets, of"):
        make("starganv2", domains="label+tone")
    batch = picture_batch(0)
    batch["labels"][2, 0] = -1
    with pytest.raises(DataError, match="a picture without a class of 'label' is among those"):
        make("starganv2").share(batch, START)
    with pytest.raises(SettingsError, match="needs pictures of at least 16 x 16 px"):
        make("starganv2", facts=replace(FACTS, size=(8, 8)))


def test_the_generator_halves_as_often_as_asked():
    """Officially until 16 px are left; the others go by the pictures alone."""
    assert [make("starganv2", depth=depth).generator.stride for depth in (None, 0, 2)] == [2, 1, 4]
    with pytest.raises(SettingsError, match=r"--depth 6 does not.*32 x 32 px.*choose at most 5"):
        make("starganv2", depth=6)


def test_the_generator_is_as_smooth_as_asked():
    """The discriminator and the style encoder stay the official ones."""
    official, smooth = make("starganv2"), make("starganv2", **SMOOTH)
    rough = {"ScaledInstanceNorm", "InstanceNorm", "NearestConvolution"}
    kinds = [{type(layer).__name__ for layer in s.generator.modules()} for s in (official, smooth)]
    assert kinds[0] >= rough
    assert kinds[1] >= {"GroupNorm", "Upsample"}
    assert not kinds[1] & rough

    def borders(network: nn.Module) -> set[str]:
        wide = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
        return {layer.padding_mode for layer in wide if layer.padding != (0, 0)}

    assert borders(smooth.generator) == {"replicate"}
    assert borders(smooth.discriminator) | borders(smooth.style_encoder) == {"zeros"}


def test_a_high_pass_makes_the_generator_deeper():
    plain, faces = make("starganv2"), make("starganv2", high_pass=2.0)
    assert (plain.generator.stride, faces.generator.stride) == (2, 4)
    assert faces.generator.high_pass.strength == 2
    assert faces.generator.decode[2].shortcut is None
    assert faces.generate(picture_batch(0)).shape == (4, 3, 32, 32)


# Styles drawn or shown


def drawn_with(system: Any, seed: int, controls: Any = None) -> Tensor:
    torch.manual_seed(seed)
    with torch.no_grad():
        return system.generate({"image": picture_batch(0)["image"]}, controls)


def test_styles_are_drawn_for_each_picture_by_the_seed():
    system = make("starganv2").eval()
    assert system.answers is None
    for number, domain in enumerate((None, "green", "blue")):
        system.choose(seen(domain=domain))
        torch.manual_seed(4)
        noise, label = torch.randn(4, 16), torch.full((4,), number)
        style = system.mapping_network(noise, label)
        made = system.generator(picture_batch(0)["image"], style).clamp(-1, 1)
        near(drawn_with(system, 4), made)
        assert not torch.equal(drawn_with(system, 5), made)
    assert system.domains() == {"label": ("red", "green", "blue")}
    with pytest.raises(SettingsError, match=r"domain of 'label' 'blu' \(did you mean 'blue'\?\)"):
        system.choose(seen(domain="blu"))


def test_a_shown_style_is_the_mean_of_the_references_encoded_once():
    system, shown = make("starganv2").eval(), picture_batch(3, 20)["image"]
    runs: list[int] = []
    system.style_encoder.register_forward_hook(lambda *_: runs.append(1))
    controls = seen(domain="green", reference=shown)
    with system.choosing(controls):
        assert system.answers == 1
        encoded = len(runs)
        made = drawn_with(system, 0)
        assert torch.equal(made, drawn_with(system, 1)), "nothing is drawn"
        assert torch.equal(made, drawn_with(system, 1, replace(controls, answer=1)))
        assert len(runs) == encoded
    style = system.style_encoder(shown, torch.full((20,), 1)).mean(0, keepdim=True)
    picture = picture_batch(0)["image"]
    near(made, system.generator(picture, style.expand(4, -1)).clamp(-1, 1))
    assert system.answers is None
    assert torch.equal(made, drawn_with(system, 0, controls)), "asked for with the batch"


def test_truncation_takes_styles_towards_the_usual_one():
    system = make("starganv2").eval()
    whole, other = drawn_with(system, 0), drawn_with(system, 1)
    system.choose(seen(truncation=0.0))
    assert system.answers == 1
    usual = drawn_with(system, 0)
    assert torch.equal(usual, drawn_with(system, 1))
    noise = torch.randn(4000, 16)
    mean = system.mapping_network(noise, 0).mean(0, keepdim=True)
    spread = system.mapping_network(noise, 0).std(0)
    assert ((system.look.usual - mean[0]).abs() < spread * 0.2 + 1e-6).all()
    system.choose(seen(truncation=0.5))
    assert system.answers is None
    apart = l1(drawn_with(system, 0), drawn_with(system, 1))
    assert 0 < apart < l1(whole, other)
    torch.manual_seed(0)
    style = system.mapping_network(torch.randn(4, 16), 0)
    half = (style + system.look.usual) / 2
    expected = system.generator(picture_batch(0)["image"], half).clamp(-1, 1)
    near(drawn_with(system, 0), expected, atol=1e-5)
    system.choose(seen())
    assert torch.equal(drawn_with(system, 0), whole)
    shown = picture_batch(3, 2)["image"]
    system.choose(seen(domain="red", reference=shown, truncation=0.5))
    style = system.style_encoder(shown, 0).mean(0, keepdim=True)
    half = ((style + system.look.usual) / 2).expand(4, -1)
    expected = system.generator(picture_batch(0)["image"], half).clamp(-1, 1)
    near(drawn_with(system, 0), expected, atol=1e-5)
    with pytest.raises(SettingsError, match="--truncation must be at most 1, got 2"):
        translator(system).choosing(truncation=2)


def translator(system: Any) -> Translator:
    domain = {"name": "photo", "kind": "photo", "channels": 3}
    config = {"system": "starganv2", "domains": dict.fromkeys(KEYS, domain)}
    return Translator(system, config, "cpu")


def test_a_translator_takes_a_domain_and_references():
    plain = translator(make("starganv2"))
    picture, shown = picture_batch(0, 1)["image"], picture_batch(1, 2)["image"]
    look = plain.choosing(domain="blue", reference=shown)
    made = look.translate(picture)
    style = plain.system.get_submodule("style_encoder")(shown, 2).mean(0, keepdim=True)
    expected = plain.system.get_submodule("generator")(picture, style).clamp(-1, 1)
    near(made, expected.detach())
    assert torch.equal(look.translate(picture, seed=9), made)
    with pytest.raises(SettingsError, match="a style of one domain; name that with --domain, of r"):
        plain.choosing(reference=shown)
    with pytest.raises(SettingsError, match="starganv2 as it was trained has one answer"):
        look.answering(1)
    assert furthest(plain.answering(1).translate(picture), plain.translate(picture)) > 1e-4


@pytest.mark.parametrize("how", [{}, SMOOTH])
def test_tiles_are_parts_of_the_whole(how):
    system, picture = make("starganv2", **how).eval(), photograph(100, 130)
    made = tiled(system, picture, 3, tile=64, norms="exact")
    assert furthest(made, untiled(system, picture, 3)) < 1e-4


def test_statistics_of_tiles_are_taken_in_the_style_of_the_seed(monkeypatch):
    """Squares that run together would each draw a style; they are run one by one, as tiles are."""
    system, picture = make("starganv2").eval(), photograph(100, 130)
    made = tiled(system, picture, 3, tile=64, norms="fast")
    monkeypatch.setattr(passage.Passage, "_together", lambda *_: False)
    assert furthest(tiled(system, picture, 3, tile=64, norms="fast"), made) < 1e-5


# Official weights


def test_official_weights_make_a_system_that_can_be_built_again():
    system = make("starganv2", max_width=12, latent=5, style=6)
    states = {}
    for name in NETWORKS:
        network = getattr(system, name)
        layers = getattr(convert, f"{name.removesuffix('_network')}_layers")(network)
        states[name] = official(network, layers)
    last = "main.7.weight"  # officially a convolution
    states["discriminator"][last] = states["discriminator"][last][..., None, None]
    made = convert.starganv2(states, FACTS)
    again = StarGANv2(made.settings, FACTS)
    again.load_state_dict(made.state_dict())
    assert torch.equal(drawn_with(again, 0), drawn_with(system, 0))
    larger = replace(FACTS, size=(64, 64))
    with pytest.raises(FileError, match="the generator is not one for 3 domains of 3 channels and"):
        convert.starganv2(states, larger)
    two = Facts({"image": 3}, (32, 32), classes={"tone": ("dark", "light")})
    with pytest.raises(FileError, match=r"the mapping_network is not one for 2 domains.*heads\.2"):
        convert.starganv2(states, two)
