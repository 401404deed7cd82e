"""CRN: terms balanced by hand, the nearest answer by class, sizes, refusals, official weights."""

import copy
from typing import Any

import pytest
import torch
from synthetic import batches, make, picture_batch
from torch.nn import functional

from dragoman.controls import Controls
from dragoman.convert import crn
from dragoman.engine import Engine, EngineSettings
from dragoman.errors import FileError, SettingsError
from dragoman.losses.balance import Balance
from dragoman.pipeline import Translator
from dragoman.settings import build
from dragoman.system import Facts, Progress
from dragoman.systems.crn import CRN, module_widths
from dragoman.tiling import Untileable, receptive_field

HOW = build(EngineSettings, {"device": "cpu", "precision": "fp32"})
PHOTO = {"name": "photo", "kind": "photo", "channels": 3}
TERMS = ["l1", "relu1", "relu2", "relu3", "relu4", "relu5"]


def label_batch(count: int = 2, classes: int = 3, size: int = 32) -> dict[str, torch.Tensor]:
    """Random label maps of large regions, one-hot in {-1, 1}, and random pictures."""
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randint(0, classes, (count, size // 8, size // 8), generator=generator)
    numbers = blocks.repeat_interleave(8, 1).repeat_interleave(8, 2)
    one_hot = functional.one_hot(numbers, classes).permute(0, 3, 1, 2).float()
    b = torch.rand(count, 3, size, size, generator=generator) * 2 - 1
    return {"a": 2 * one_hot - 1, "b": b, "map": numbers}


def test_weights_go_by_the_means_of_the_steps_before():
    balance = Balance(2, steps=2)
    balance.begin(0)
    assert balance.weights().tolist() == [1, 1]
    balance.measure(torch.tensor([2.0, 4.0]), 1)
    balance.begin(0)  # asked again within the step, as for a batch in parts
    assert balance.weights().tolist() == [1, 1]
    balance.begin(1)
    assert balance.weights().tolist() == [1, 0.5]
    balance.measure(torch.tensor([4.0, 2.0]), 3)  # of three pictures: sums 14 and 10
    balance.begin(2)
    torch.testing.assert_close(balance.weights(), torch.tensor([1, 1.4]))
    balance.measure(torch.tensor([100.0, 1.0]), 1)  # the two steps are over
    balance.begin(3)
    torch.testing.assert_close(balance.weights(), torch.tensor([1, 1.4]))


def test_a_term_that_is_nought_does_not_spoil_the_weights():
    balance = Balance(2, steps=2)
    balance.begin(0)
    balance.measure(torch.tensor([2.0, 0.0]), 1)
    balance.begin(1)
    assert balance.weights().isfinite().all()


@pytest.mark.usefixtures("unmoved")
def test_measured_terms_come_out_equal():
    """With lr 0 every step is the same, so that from the second on each term is the first one."""
    batch, heard = picture_batch(0), []
    engine = Engine(make("crn", lr=0.0), HOW, 3, lambda _, __, terms: heard.append(terms))
    for _ in engine.run(lambda start: iter(lambda: batch, None)):
        pass
    assert list(heard[0]) == TERMS
    raw, balanced = (torch.stack([terms[name] for name in TERMS]) for terms in (heard[0], heard[2]))
    assert raw.max() > 1.2 * raw.min()
    torch.testing.assert_close(balanced, raw[0].expand(6), rtol=1e-5, atol=0)


def test_what_was_measured_survives_a_resume():
    engine = Engine(make("crn"), HOW, 4)
    run = engine.run(batches)
    next(run), next(run)
    state = copy.deepcopy(engine.state())
    assert state["system"]["balance.seen"] == 8
    other = Engine(make("crn", seed=5), HOW, 4)
    other.load(state)
    assert torch.equal(other.system.balance.sums, engine.system.balance.sums)
    assert other.system.balance.sums.min() > 0


@pytest.mark.usefixtures("unmoved")
def test_lambdas_and_layers_multiply_the_balanced_terms():
    batch = picture_batch(0)
    system = make("crn", perceptual_layers="relu1=2,relu3=0.5", lambda_l1=3.0, lambda_perceptual=4)
    plain = make("crn", perceptual_layers="relu1=1,relu3=1")
    parts = [one.generator_loss(batch, one.share(batch, Progress(0, 9))) for one in (system, plain)]
    factors = {name: (parts[0][name] / parts[1][name]).item() for name in parts[0]}
    assert factors == pytest.approx({"l1": 3, "relu1": 8, "relu3": 2})


@pytest.mark.usefixtures("unmoved")
def test_one_answer_is_the_perceptual_distance_and_l1():
    batch = picture_batch(0)
    system = make("crn")
    made = system.made(batch)
    terms = system.generator_loss(batch, made)
    whole = system.perceptual(made[:, 0], batch["b"]) + (made[:, 0] - batch["b"]).abs().mean()
    torch.testing.assert_close(torch.stack(list(terms.values())).sum(), whole)


@pytest.mark.usefixtures("unmoved")
@pytest.mark.parametrize("regions", ["classes", "picture"])
def test_the_loss_of_several_answers_by_loops(regions):
    batch, mean = label_batch(), 0.3
    system = make("crn", answers=3, mean_share=mean, regions=regions, perceptual_layers="relu2=0.7")
    made = system.made(batch)
    terms = system.generator_loss(batch, made)
    expected = 0.0
    for sample in range(2):
        true = batch["b"][sample : sample + 1]
        masks = (batch["a"][sample] + 1) / 2
        for mask in masks if regions == "classes" else [torch.ones(32, 32)]:
            costs = []
            for answer in range(3):
                fake = made[sample : sample + 1, answer]
                pixels = ((fake - true).abs().mean(1)[0] * mask).mean()
                ours, theirs = (system.perceptual.features(p)["relu2"] for p in (fake, true))
                small = functional.adaptive_avg_pool2d(mask[None], ours.shape[-2:])[0]
                costs.append(pixels + 0.7 * ((ours - theirs).abs().mean(1)[0] * small).mean())
            expected += (1 - mean) * min(costs) + mean * sum(costs) / 3
    torch.testing.assert_close(sum(terms.values()), expected / 2)


def test_each_class_may_be_right_in_another_answer():
    batch = label_batch(1, classes=2)
    facts = Facts({"a": 2, "b": 3}, (32, 32))
    first = batch["map"][:, None] == 0
    wrong = batch["b"] + 1
    made = torch.stack(
        [torch.where(first, batch["b"], wrong), torch.where(first, wrong, batch["b"])], 1
    )
    costs = {}
    for regions in ("classes", "picture"):
        system = make("crn", facts=facts, answers=2, mean_share=0.0, regions=regions)
        costs[regions] = system.generator_loss(batch, made)["l1"].item()
    assert costs["classes"] == 0
    assert costs["picture"] > 0.2


def test_pixels_without_a_class_are_learned_too():
    batch = label_batch(1)
    batch["a"][..., :8] = -1
    system = make("crn", answers=2, mean_share=0.0)
    made = batch["b"][:, None].repeat(1, 2, 1, 1, 1)
    made[..., :8] += torch.tensor([1.0, 2.0])[:, None, None, None]
    assert system.generator_loss(batch, made)["l1"].item() == pytest.approx(1 / 4)


def test_several_answers_by_class_need_a_map():
    for knobs, needs in (
        ({"answers": 1}, ("a", "b")),
        ({"answers": 2}, ("a", "b", "map")),
        ({"answers": 2, "regions": "picture"}, ("a", "b")),
    ):
        assert CRN.needed(build(CRN.Settings, knobs)) == needs


def test_generate_gives_the_answer_asked_for_within_the_range():
    system = make("crn", answers=3).eval()
    with torch.no_grad():
        system.generator.last.bias.fill_(1.0)
        batch = picture_batch(0)
        raw = system.generator((batch["a"] + 1) / 2)
        assert raw.abs().max() > 1
        for number in range(3):  # red of all answers comes first, then green, then blue
            made = system.generate(batch, Controls(answer=number))
            assert torch.equal(made, raw[:, number::3].clamp(-1, 1))
    assert system.answers == 3


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("answers", [1, 2])
def test_pictures_of_any_number_of_channels(channels, answers):
    facts = Facts({"a": 3, "b": channels}, (32, 32))
    batch = label_batch()
    batch["b"] = batch["b"][:, :channels]
    system = make("crn", facts=facts, answers=answers)
    terms = system.generator_loss(batch, system.made(batch))
    assert list(terms) == TERMS
    assert all(term.isfinite() for term in terms.values())


@pytest.mark.parametrize(
    ("size", "stride", "coarsest"),
    [((32, 32), 8, 4), ((64, 128), 16, 4), ((96, 48), 8, 6), ((40, 72), 8, 5), ((64, 40), 8, 5)],
)
def test_sizes_and_aspects(size, stride, coarsest):
    system = make("crn", facts=Facts({"a": 3, "b": 3}, size)).eval()
    assert (system.stride, min(size) // stride) == (stride, coarsest)
    for height, width in (size, (size[0] + stride, 2 * size[1])):
        with torch.no_grad():
            made = system.generate({"a": torch.zeros(2, 3, height, width)})
        assert made.shape == (2, 3, height, width)


@pytest.mark.parametrize(
    ("knobs", "widths"),
    [
        ({}, [1024, 1024, 512, 512]),
        ({"width": 8, "max_width": 12}, [12, 12, 8, 8]),
        ({"width": 8, "depth": 1}, [8, 8]),
        ({"widths": "5, 7,9"}, [5, 7, 9]),
        ({"width": 8, "depth": 5}, [16, 16, 16, 16, 8, 8]),
        ({"widths": "8"}, [8]),
    ],
)
def test_widths_of_the_modules(knobs, widths):
    assert module_widths(build(CRN.Settings, knobs), (32, 32)) == widths


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"answers": 0}, "--answers must be at least 1, got 0"),
    ({"perceptual": "none"}, "use --perceptual alex"),
    ({"lambda_perceptual": 0.0}, "--lambda_perceptual above 0"),
    ({"balance": "fixed"}, "--balance fixed has weights for vgg19 only"),
    ({"perceptual_layers": "relu9=1"}, "--perceptual_layers 'relu9=1'"),
    ({"depth": 6}, "cannot be halved 6 times.*--depth 5 or less.*divisible by 64"),
    ({"widths": "8,x"}, "--widths '8,x' must be whole numbers"),
    ({"widths": "8,8", "depth": 2}, "of 2 modules, hence --depth 1, not 2"),
]


@pytest.mark.parametrize(("knobs", "words"), REFUSED, ids=str)
def test_what_cannot_be_is_refused(knobs, words):
    with pytest.raises(SettingsError, match=words):
        make("crn", **knobs)


@pytest.mark.parametrize("size", [(4, 4), (33, 64)])
def test_pictures_that_cannot_be_halved_are_refused(size):
    with pytest.raises(SettingsError, match=r"cannot be halved.*--size divisible by 8"):
        make("crn", facts=Facts({"a": 3, "b": 3}, size))


def test_pictures_too_small_for_the_classifier_are_enlarged():
    system, batch = make("crn", facts=Facts({"a": 3, "b": 3}, (16, 16))), label_batch(size=16)
    system.check()
    terms = system.generator_loss(batch, system.made(batch))
    assert list(terms) == TERMS
    assert min(terms.values()) > 0


def test_own_layers_have_fixed_weights():
    system = make("crn", balance="fixed", perceptual_layers="relu1=0.25")
    assert system.balance is None
    assert system.weights() == {"l1": pytest.approx(0.5 / 0.226), "relu1": 0.25}


def test_missing_weights_of_vgg_are_told_before_training():
    with pytest.raises(FileError, match="VGG19 needs its ImageNet weights"):
        make("crn", perceptual="vgg19", balance="fixed").check()


@pytest.mark.parametrize("norm", ["layer", "instance", "group", "none"])
def test_tiles_agree_with_the_whole(norm):
    one = Translator(make("crn", norm=norm), {"domains": {"a": PHOTO, "b": PHOTO}}, "cpu")
    picture = picture_batch(0, 1, 256)["a"]
    whole, tiles = one(picture, tile=0), one(picture, tile=128, norms="exact")
    assert (whole - tiles).abs().max() < 1e-3


def test_beyond_the_border():
    """A picture of one colour becomes one of one colour only if the border does not show."""
    for border, even in (("zeros", False), ("replicate", True)):
        system = make("crn", border=border, norm="none").double()
        made = system.made({"a": torch.ones(1, 3, 32, 32, dtype=torch.float64)})
        assert torch.allclose(made, made[..., :1, :1]) == even


def test_enlarging_by_corners_cannot_be_tiled():
    with pytest.raises(Untileable, match="by corners"):
        receptive_field(make("crn", norm="none", align_corners=True).eval())
    batch = picture_batch(0)
    made = [make("crn", align_corners=on).made(batch) for on in (False, True)]
    assert not torch.allclose(*made)


def official(heights=(4, 8, 16), widths=(6, 5, 5), classes=4, outputs=6) -> dict[str, torch.Tensor]:
    """Variables as TensorFlow's, with what an optimizer leaves."""
    torch.manual_seed(0)
    state, before = {"beta1_power": torch.ones(())}, 0
    for height, width in zip(heights, widths, strict=True):
        for conv, inputs in ((1, before + classes), (2, width)):
            name = f"g_{height}_conv{conv}"
            state[f"{name}/weights"] = torch.randn(3, 3, inputs, width)
            state[f"{name}/weights/Adam"] = torch.zeros(3, 3, inputs, width)
            state[f"{name}/LayerNorm/gamma"] = torch.rand(width)
            state[f"{name}/LayerNorm/beta"] = torch.randn(width)
        before = width
    state[f"g_{heights[-1]}_conv100/weights"] = torch.randn(1, 1, before, outputs)
    state[f"g_{heights[-1]}_conv100/biases"] = torch.randn(outputs)
    return state


def test_official_weights_make_a_system_that_can_be_built_again():
    facts = Facts({"a": 4, "b": 3}, (32, 64))
    made = crn.system(official(), facts)
    assert (made.answers, made.stride, made.settings.widths) == (2, 4, "6,5,5")
    again = CRN(made.settings, facts)
    again.generator.load_state_dict(made.generator.state_dict())
    batch = {"a": torch.rand(1, 4, 32, 64)}
    assert torch.equal(made.generate(batch), again.generate(batch))


def without(name: str) -> dict[str, torch.Tensor]:
    """The official variables but for one."""
    return {key: value for key, value in official().items() if key != name}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"conv.weight": torch.zeros(1)}, "not those of an official CRN"),
        (official(heights=(4, 8, 32)), r"heights that double; heights found: \[4, 8, 32\]"),
        (without("g_16_conv100/weights"), "lack 'g_16_conv100/weights'"),
        (without("g_8_conv2/LayerNorm/beta"), "missing: g_8_conv2/LayerNorm.bias"),
        (official(classes=5), "turn 5 classes into 6 channels"),
        (official(outputs=7), "into 7 channels, 3 for each answer"),
    ],
)
def test_weights_of_something_else_are_refused(state, words):
    with pytest.raises(FileError, match=words):
        crn.system(state, Facts({"a": 4, "b": 3}, (32, 64)))


def test_a_classifier_of_something_else_is_refused():
    with pytest.raises(FileError, match="lack '0/weight'"):
        crn.vgg({"1/weight": torch.zeros(3, 3, 3, 4)})
    with pytest.raises(FileError, match="not those of the official VGG19"):
        crn.vgg({"0/weight": torch.zeros(3, 3, 3, 4), "0/bias": torch.zeros(4)})


@pytest.mark.parametrize("norm", ["layer", "instance", "group"])
def test_a_picture_without_any_class_does_no_harm(norm):
    system = make("crn", norm=norm, facts=Facts({"a": 3, "b": 3}, (64, 64)))
    batch = {"a": -torch.ones(2, 3, 64, 64), "b": torch.rand(2, 3, 64, 64) * 2 - 1}
    terms = system.generator_loss(batch, system.share(batch, Progress(0, 10)))
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad.isfinite().all() for p in system.generator.parameters() if p.grad is not None)
