"""StarGAN: its terms by hand, label sets of which a picture knows some, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from synthetic import CLASSES, FACTS, batches, make, picture_batch
from test_stargan_networks import official
from torch import Tensor
from torch.nn import functional

from dragoman.convert import stargan as convert
from dragoman.engine import Engine, EngineSettings
from dragoman.errors import FileError, SettingsError
from dragoman.settings import build
from dragoman.system import Facts, Progress
from dragoman.systems.stargan import StarGAN, StarGANSettings, shuffled

START = Progress(0, 10)
BOTH: dict[str, Any] = {"domains": "label+tone"}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def near(term: Tensor, value: Any) -> None:
    torch.testing.assert_close(term, torch.as_tensor(value), rtol=1e-4, atol=1e-6)


def labelled(labels: list[list[int]]) -> dict[str, Tensor]:
    """A batch with these labels."""
    each = torch.tensor(labels)
    return picture_batch(0, len(labels)) | {"labels": each, "label": each[:, 0]}


def one_hot(labels: Tensor, count: int) -> Tensor:
    return functional.one_hot(labels, count).float()


def told(system: StarGAN) -> list[Tensor]:
    """The label vectors that the generator is given from now on."""
    seen: list[Tensor] = []
    system.generator.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    return seen


def test_the_generator_s_terms_are_those_of_the_paper():
    system = make("stargan", lambda_classes=2.0, lambda_cycle=3.0)
    batch = picture_batch(0)
    made = system.share(batch, START)
    wanted, real = made.wanted[:, 0], batch["image"]
    assert sorted(wanted.tolist()) == sorted(batch["label"].tolist()), "the batch's own, shuffled"
    fake = system.generator(real, one_hot(wanted, 3))
    judged, classes = system.discriminator(fake)
    terms = system.generator_loss(batch, made)
    back = system.generator(fake, one_hot(batch["label"], 3))
    near(terms["adversarial"], -judged.mean())
    near(terms["classes"], 2 * functional.cross_entropy(classes, wanted))
    near(terms["cycle"], 3 * (back - real).abs().mean())
    assert set(terms) == {"adversarial", "classes", "cycle"}


def test_the_way_back_teaches_the_way_there():
    system, batch = make("stargan"), picture_batch(0)
    made = system.share(batch, START)
    terms = system.generator_loss(batch, made)
    (slope,) = torch.autograd.grad(terms["cycle"], made.fake)
    assert slope.any()


def test_where_its_own_domain_is_asked_for_a_picture_stays():
    """The conditional identity loss of Siddiquee et al. 2019."""
    system, batch = make("stargan", lambda_identity=4.0), picture_batch(0)
    kept = system.generator(batch["image"], one_hot(batch["label"], 3))
    terms = system.generator_loss(batch, system.share(batch, START))
    near(terms["identity"], 4 * (kept - batch["image"]).abs().mean())


def test_the_discriminator_s_terms_are_those_of_the_paper():
    system = make("stargan", lambda_classes=2.0, lambda_penalty=5.0)
    batch = picture_batch(0)
    made = system.share(batch, START)
    real, fake = batch["image"], made.fake.detach()
    torch.manual_seed(3)
    mix = torch.rand(4)[:, None, None, None]
    torch.manual_seed(3)
    terms = system.discriminator_loss(batch, made)
    judged, classes = system.discriminator(real)
    between = (mix * real + (1 - mix) * fake).requires_grad_(True)
    (slope,) = torch.autograd.grad(system.discriminator(between)[0].sum(), between)
    near(terms["real"], -judged.mean())
    near(terms["fake"], system.discriminator(fake)[0].mean())
    near(terms["classes"], 2 * functional.cross_entropy(classes, batch["label"]))
    near(terms["penalty"], 5 * (slope.flatten(1).norm(dim=1) - 1).square().mean())
    without = make("stargan", lambda_penalty=0.0)
    assert "penalty" not in without.discriminator_loss(batch, without.share(batch, START))


def test_partners_are_of_the_same_group_and_each_is_taken_once():
    groups = torch.tensor([2, 0, 1, 0, 2, 0, 1, 2])
    orders = [shuffled(groups) for _ in range(20)]
    for order in orders:
        assert torch.equal(groups[order], groups)
        assert sorted(order.tolist()) == list(range(8))
    assert len({tuple(order.tolist()) for order in orders}) > 5


def test_a_picture_is_changed_in_one_label_set_at_a_time():
    """Both vectors hold that set's class and the mask that names it, all else is zero."""
    system, batch = make("stargan", **BOTH), labelled([[n % 3, n % 2] for n in range(12)])
    assert system.generator.labels == 3 + 1 + 2
    seen = told(system)
    made = system.share(batch, START)
    system.generator_loss(batch, made)
    wanted, own = seen
    masks = wanted[:, 4:]
    assert torch.equal(masks, own[:, 4:])
    assert torch.equal(masks.sum(1), torch.ones(12))
    assert 0 < masks[:, 0].sum() < 12, "either set is drawn"
    by_label = masks[:, 0] == 1
    near(own[by_label, :3], one_hot(batch["label"][by_label], 3))
    assert not own[by_label, 3].any()
    assert not own[~by_label, :3].any()
    near(own[~by_label, 3], batch["labels"][~by_label, 1].float())
    for rows in (by_label, ~by_label):
        assert wanted[rows].sum(0).tolist() == own[rows].sum(0).tolist(), "shuffled within a set"


def test_a_picture_learns_with_a_set_that_it_knows():
    system, batch = make("stargan", **BOTH), labelled([[2, -1], [-1, 1], [0, -1], [-1, 0]] * 2)
    own, wanted = system.drawn(system.labels_of(batch))
    assert torch.equal(own, batch["labels"])
    assert torch.equal(wanted < 0, own < 0)


@pytest.mark.parametrize("targets", ["shuffled", "uniform"])
def test_a_picture_without_any_label_is_no_error(targets):
    system, batch = make("stargan", **BOTH, targets=targets), labelled([[-1, -1], [-1, -1]])
    seen = told(system)
    made = system.share(batch, START)
    terms = {"d": system.discriminator_loss(batch, made), "g": system.generator_loss(batch, made)}
    assert all(term.isfinite() for turn in terms.values() for term in turn.values())
    assert terms["d"]["classes"] == 0
    assert not seen[1].any(), "nothing is known of them"
    assert (terms["g"]["classes"] > 0) == (targets == "uniform")
    assert (made.wanted >= 0).any() == (targets == "uniform")


def test_uniform_targets_are_any_classes():
    system = make("stargan", **BOTH, joint=True, targets="uniform")
    _, wanted = system.drawn(torch.zeros(300, 2, dtype=torch.long))
    for place, classes in enumerate((3, 2)):
        counts = wanted[:, place].bincount(minlength=classes)
        assert len(counts) == classes
        assert counts.min() > 70


def test_class_terms_run_over_the_known_part_only():
    system, batch = make("stargan", **BOTH), labelled([[2, -1], [-1, 1], [0, 1], [-1, -1]])
    made = system.share(batch, START)
    _, logits = system.discriminator(batch["image"])
    known = functional.cross_entropy(logits[[0, 2], :3], torch.tensor([2, 0]), reduction="sum")
    attribute = functional.softplus(-logits[[1, 2], 3]).sum()
    near(system.discriminator_loss(batch, made)["classes"], (known + attribute) / 4)
    with torch.no_grad():
        system.discriminator.classes.weight[3].add_(10.0)  # of the attribute's logit
    assert not torch.allclose(system.discriminator(batch["image"])[1], logits)
    alone = labelled([[2, -1], [-1, -1], [0, -1], [-1, -1]])
    near(system.discriminator_loss(alone, made)["classes"], known / 4)


def test_joint_sets_are_given_all_at_once_and_without_a_mask():
    system, batch = make("stargan", **BOTH, joint=True), labelled([[0, 1], [1, 0], [2, -1]])
    assert system.generator.labels == 4
    seen = told(system)
    made = system.share(batch, START)
    assert sorted(made.wanted.tolist()) == [[0, 1], [1, 0], [2, -1]], "whole rows are shuffled"
    system.generator_loss(batch, made)
    own = [[1.0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]]
    assert seen[1].tolist() == own
    with system.choosing(system.Controls(domain="tone=light")):
        system.generate(batch)
        assert seen[2].tolist() == [[*row[:3], 1] for row in own], "the other set stays"
        words = "class of 'label' too; name one of each label set, as --domain label=red,tone=dark"
        for call in (system.check_chosen, lambda: system.generate({"image": batch["image"]})):
            with pytest.raises(SettingsError, match=words):
                call()
    with system.choosing(system.Controls(domain="tone=light,label=green")):
        system.check_chosen()
        system.generate({"image": batch["image"]})
        assert seen[3].tolist() == [[0.0, 1, 0, 1]] * 3


def test_joint_partners_are_any_pictures_whatever_they_know():
    system, labels = make("stargan", **BOTH, joint=True), torch.tensor([[2, -1], [-1, 1]])
    assert any(torch.equal(system.drawn(labels)[1], labels.flip(0)) for _ in range(20))


def test_what_is_asked_for_reaches_the_generator():
    system, batch = make("stargan", **BOTH).eval(), picture_batch(0, 2)
    seen = told(system)
    wishes = {
        None: [1.0, 0, 0, 0, 1, 0],
        "blue": [0.0, 0, 1, 0, 1, 0],
        "tone=light": [0.0, 0, 0, 1, 0, 1],
    }
    for wish, vector in wishes.items():
        with system.choosing(system.Controls(domain=wish)):
            made = system.generate(batch)
        assert torch.equal(made, system.generate(batch, system.Controls(domain=wish)))
        assert seen[-1].tolist() == seen[-2].tolist() == [vector] * 2, wish
    assert system.domains() == CLASSES
    assert system.answers == 1


def test_classes_of_several_sets_are_made_one_after_the_other():
    """In training the mask names one set at a time: with two it would be what was never seen."""
    system, batch = make("stargan", **BOTH).eval(), picture_batch(0, 2)
    seen = told(system)
    made = system.generate(batch, system.Controls(domain="tone=dark, label=green"))
    assert [one.tolist() for one in seen] == [
        [[0.0, 1, 0, 0, 1, 0]] * 2,
        [[0.0, 0, 0, 0, 0, 1]] * 2,
    ]
    first = system.generate(batch, system.Controls(domain="green"))
    second = system.generate({"image": first}, system.Controls(domain="tone=dark"))
    assert torch.equal(made, second)


def test_where_a_zero_is_a_class_pictures_must_be_of_one():
    """With a mask, or a number for each class, nothing known is another vector than any class."""
    assert make("stargan", domains="tone").must_know() == ("tone",)
    assert make("stargan", **BOTH, joint=True).must_know() == ("tone",)
    assert make("stargan", domains="label").must_know() == ()
    assert make("stargan", **BOTH).must_know() == ()
    (stage,) = make("stargan", domains="tone").stages(1)
    assert stage.data == {"label_set": "tone", "known": ("tone",)}


@pytest.mark.parametrize(("start", "share"), [(-2.0, 0.119), (2.0, 0.881)])
def test_the_attention_begins_as_asked(start, share):
    network = make("stargan", attention=True, attention_start=start).generator
    for layer in (network.last, network.attention):
        torch.nn.init.zeros_(layer.weight)  # colours of 0; the mask is its bias alone
    made = network(torch.ones(1, 3, 32, 32), torch.zeros(1, network.labels))
    assert made.mean().item() == pytest.approx(1 - share, abs=0.02)


def test_the_attention_is_held_open_at_first():
    """So that the generator has to learn to draw every pixel; in the end nothing holds it open."""
    system, batch = make("stargan", attention=True, attention_warmup=0.4), picture_batch(0)
    for step, opened in ((0, 1.0), (1, 0.75), (4, 0.0), (9, 0.0)):
        system.share(batch, Progress(step, 10))
        assert system.generator.opened.item() == pytest.approx(opened)
    assert "opened" in system.generator.state_dict()
    without = make("stargan", attention=True)
    without.share(batch, Progress(0, 10))
    assert without.generator.opened.item() == 0
    with pytest.raises(SettingsError, match=r"--attention_warmup is of.*; set --attention true"):
        make("stargan", attention_warmup=0.4)
    with pytest.raises(SettingsError, match=r"--attention_start is of.*; set --attention true"):
        make("stargan", attention_start=2.0)


def test_domains_that_there_are_not():
    system = make("stargan")
    with pytest.raises(SettingsError, match=r"domain of 'label' 'gren' \(did you mean 'green'\?\)"):
        system.choose(system.Controls(domain="gren"))
    with pytest.raises(SettingsError, match=r"unknown label set 'tone'.*known: label"):
        system.choose(system.Controls(domain="tone=dark"))
    with pytest.raises(SettingsError, match=r"unknown label set 'tones' \(did you mean 'tone'"):
        make("stargan", domains="label+tones")
    with pytest.raises(SettingsError, match="--domains must name label sets of the data, each on"):
        make("stargan", domains="tone+tone")
    with pytest.raises(SettingsError, match="the label set 'kind' has 1 class, between which"):
        make("stargan", facts=replace(FACTS, classes={"kind": ("only",)}))


def test_the_discriminator_halves_small_pictures_less_often():
    layers = {}
    for size in (32, 64, 256):
        facts = replace(FACTS, size=(size, size))
        layers[size] = len(make("stargan", facts=facts, discriminator_width=1).discriminator.layers)
    assert layers == {32: 5, 64: 6, 256: 6}
    with pytest.raises(SettingsError, match="--discriminator_layers 6 does not go with pictures"):
        make("stargan", discriminator_layers=6)


def test_labels_are_shuffled_over_the_whole_batch_however_it_is_taken(monkeypatch):
    asked, system = [], make("stargan")
    judging = system.discriminator_loss

    def discriminator_loss(batch: Any, made: Any) -> Any:
        asked.append((made.own[:, 0].tolist(), made.wanted[:, 0].tolist()))
        return judging(batch, made)

    monkeypatch.setattr(system, "discriminator_loss", discriminator_loss)
    knobs = {"average": 0.0, "device": "cpu", "precision": "fp32", "accumulate": 8}
    steps = Engine(system, build(EngineSettings, knobs), 4).run(lambda **how: batches(batch=8))
    for _ in steps:
        own, wanted = ([one for part in side for one in part] for side in zip(*asked, strict=True))
        assert sorted(own) == sorted(wanted)
        assert own != wanted, "each part is of one picture, which must not keep its domain"
        asked.clear()


def test_one_picture_has_no_other_whose_domain_could_be_wanted():
    words = "--batch 1 leaves no other picture whose domain could be wanted .*--targets uniform"
    with pytest.raises(SettingsError, match=words):
        make("stargan").whole(labelled([[1, 0]]))
    make("stargan", targets="uniform").whole(labelled([[1, 0]]))


def test_no_network_runs_twice_for_the_same():
    """D: real, fake and between; with G's turn one more. G: the fakes, and then the way back."""
    system, runs = make("stargan", n_critic=2), {"generator": 0, "discriminator": 0}

    def counting(name: str) -> None:
        def count(*_: Any) -> None:
            runs[name] += 1

        getattr(system, name).register_forward_hook(count)

    for name in runs:
        counting(name)
    heard: list[str] = []
    settings = build(EngineSettings, {"average": 0.0, "device": "cpu", "precision": "fp32"})
    engine, seen = Engine(system, settings, 4, lambda step, turn, _: heard.append(turn)), []
    for _ in engine.run(batches):
        seen.append((runs["generator"], runs["discriminator"]))
    assert seen == [(1, 3), (3, 7), (4, 10), (6, 14)]
    assert heard == ["discriminator", "discriminator", "generator"] * 2


def test_official_weights_make_a_system_that_can_be_built_again():
    system = make("stargan", **BOTH, joint=True, blocks=2, discriminator_layers=3)
    states = (
        official(system.generator, convert.generator_layers(system.generator)),
        official(system.discriminator, convert.discriminator_layers(system.discriminator)),
    )
    made = convert.stargan(*states, FACTS, **BOTH, joint=True)
    again = StarGAN(made.settings, FACTS)
    again.load_state_dict(made.state_dict())
    batch = picture_batch(0)
    assert torch.equal(again.generate(batch), system.generate(batch))
    with pytest.raises(FileError, match=r"4 label numbers.*but this data has 3, 6, 4 and 4 x 4"):
        convert.stargan(*states, FACTS, **BOTH)
    with pytest.raises(FileError, match="these networks have 3 channels, 4 label numbers"):
        convert.stargan(*states, Facts({"image": 1}, (32, 32), classes=CLASSES))


def test_defaults_are_the_official_ones():
    one = StarGANSettings()
    weights = (one.lambda_classes, one.lambda_cycle, one.lambda_penalty, one.n_critic, one.lr)
    assert weights == (1, 10, 10, 5, 1e-4)
    assert StarGAN.defaults == {"batch": 16, "schedule": "linear"}
