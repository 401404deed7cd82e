"""The context encoder: holes that do not leak, its terms by hand, and what is refused."""

import pytest
import torch
from synthetic import batches, make, picture_batch
from torch.nn import functional

from dragoman.engine import Engine, EngineSettings
from dragoman.errors import DataError, SettingsError
from dragoman.networks.context_encoder import ChannelwiseLinear, Inpainter, WholeDiscriminator
from dragoman.settings import build
from dragoman.system import Facts, Progress
from dragoman.systems.context_encoder import ContextEncoder, ContextEncoderSettings, weighted_l2

MASKS = ["centre", "blocks", "region", "data"]


def made(**knobs):
    return make("context_encoder", **knobs)


def without_mask(number=0):
    batch = picture_batch(number)
    del batch["mask"]
    return batch


def trained(system, steps=2):
    """Take some steps and return all terms told, the last of each."""
    heard = {}
    how = build(EngineSettings, {"device": "cpu", "precision": "fp32"})
    engine = Engine(
        system,
        how,
        steps,
        lambda step, turn, terms: heard.update({f"{turn}.{n}": t for n, t in terms.items()}),
    )
    for _ in engine.run(batches):
        pass
    return heard


TERMS = {"generator.l2", "generator.adversarial", "discriminator.real", "discriminator.fake"}


@pytest.mark.parametrize(
    "knobs",
    [
        *({"mask": mask} for mask in MASKS),
        {"mask": "none"},
        {"bottleneck": "conv", "units": 6, "norm": "instance"},
        {"predict": "centre", "overlap": 0},
        {"predict": "centre", "bottleneck": "conv", "units": 6, "hole": 0.25, "overlap": 4},
        {"discriminator": "picture"},
        {"adversarial": "relativistic"},
        {"upsample": "nearest", "decoder_width": 6, "depth": 2},
    ],
)
def test_every_variant_trains(knobs):
    heard = trained(made(**knobs))
    assert set(heard) == TERMS
    assert all(term.isfinite() for term in heard.values())


def test_without_adversarial_term_there_is_no_discriminator():
    system = made(lambda_adversarial=0.0)
    assert [name for name, _ in system.named_children()] == ["generator"]
    assert set(trained(system)) == {"generator.l2"}


def test_it_learns_to_fill_a_hole_from_what_is_around():
    torch.manual_seed(0)
    facts = Facts(channels={"image": 1}, size=(16, 16))
    settings = ContextEncoderSettings(width=8, lambda_adversarial=0.0, start="kaiming")
    system = ContextEncoder(settings, facts)
    optimizer = system.optimizer(system.generator)
    losses = []
    for _ in range(60):
        batch = {"image": (torch.rand(16, 1, 1, 1) * 2 - 1).expand(16, 1, 16, 16)}
        terms = system.generator_loss(batch, system.share(batch, Progress(0, 1)))
        optimizer.zero_grad()
        terms["l2"].backward()
        optimizer.step()
        losses.append(terms["l2"].item())
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])


@pytest.mark.parametrize("mask", MASKS)
def test_what_is_in_the_hole_does_not_leak(mask):
    system = made(mask=mask).eval()
    batch = picture_batch(0)
    hole = system.hole(batch)
    assert 0 < hole.mean() < 1
    other = dict(batch, image=torch.where(hole > 0, -batch["image"], batch["image"]))
    assert not torch.equal(other["image"], batch["image"])
    with torch.no_grad():
        assert torch.equal(system.generate(batch), system.generate(other))
        assert torch.equal(system.given(batch), system.given(other))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("bf16", [False, True])
def test_known_pixels_are_those_given(mask, bf16):
    system, batch = made(mask=mask).eval(), without_mask()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        picture = system.generate(batch)
    known = (system.hole(batch) == 0).expand_as(picture)
    assert torch.equal(picture[known], batch["image"][known])
    assert not torch.equal(picture[~known], batch["image"][~known])


def test_the_hole_is_filled_with_the_mean_colour_of_imagenet():
    system, batch = made(), without_mask()
    given = system.given(batch)
    colour = torch.tensor([117, 104, 123]) * 2 / 255 - 1
    torch.testing.assert_close(given[0, :, 16, 16], colour)
    assert torch.equal(given[..., :8, :], batch["image"][..., :8, :])
    grey = make("context_encoder", facts=Facts(channels={"image": 2}, size=(32, 32)))
    assert grey.given({"image": torch.ones(1, 2, 32, 32)})[..., 16, 16].eq(0).all()


def test_the_loss_by_hand_with_its_overlap():
    """A hole of 16 x 16 with 3 px around: 256 squares of 0.25 and 228 of 1, these tenfold."""
    system = made(overlap=3, lambda_l2=0.5, lambda_adversarial=0.0)
    picture = torch.zeros(4, 3, 32, 32)
    prediction = torch.full_like(picture, 7.0)  # far away, where nothing counts
    prediction[..., 5:27, 5:27] = 1.0
    prediction[..., 8:24, 8:24] = 0.5
    batch = {"image": picture}
    terms = system.generator_loss(batch, {"hole": system.drawn_hole(batch), "made": prediction})
    expected = 0.5 * (256 * 0.25 + 10 * 228 * 1.0) / (256 + 228)
    torch.testing.assert_close(terms["l2"], torch.tensor(expected))


def test_the_loss_of_other_holes_counts_each_picture_s_own_pixels():
    x = torch.zeros(2, 3, 4, 4)
    y = torch.ones(2, 3, 4, 4)
    y[1] = 3
    weights = torch.zeros(2, 1, 4, 4)
    weights[0, :, 0, 0] = 1
    weights[1, :, :2] = 1
    torch.testing.assert_close(weighted_l2(x, y, weights), torch.tensor((1 + 9) / 2))
    assert weighted_l2(x, y, torch.zeros(2, 1, 4, 4)) == 0


def test_the_overlap_is_four_pixels_at_128_and_in_proportion():
    for size, overlap in ((128, 4), (64, 2), (32, 1)):
        facts = Facts(channels={"image": 3}, size=(size, size))
        system = make("context_encoder", facts=facts)
        hole, around = (system.weights == 1).sum(), (system.weights == 10).sum()
        assert hole == (size // 2) ** 2
        assert hole + around == (size // 2 + 2 * overlap) ** 2


def test_the_discriminator_sees_the_predicted_centre_or_the_completed_picture():
    seen = []
    batch = without_mask()
    for knobs in ({"overlap": 2}, {"discriminator": "picture"}, {"mask": "region"}):
        system = made(**knobs)
        system.discriminator.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        shared = system.share(batch, Progress(0, 1))
        system.discriminator_loss(batch, shared)
    centre, picture, region = seen[1::2]  # the fakes
    assert centre.shape == (4, 3, 20, 20)
    assert not torch.isclose(centre, batch["image"][..., 6:26, 6:26]).all(1).any()
    assert picture.shape == region.shape == (4, 3, 32, 32)
    assert torch.equal(picture[..., :8, :], batch["image"][..., :8, :])
    assert torch.equal(seen[0], batch["image"][..., 6:26, 6:26])


def test_random_holes_are_new_in_training_and_steady_when_judged():
    for mask in ("blocks", "region"):
        system, other = made(mask=mask), made(mask=mask, seed=5)
        batch = without_mask()
        assert not torch.equal(system.drawn_hole(batch), system.drawn_hole(batch))
        assert torch.equal(system.hole(batch), other.hole(batch))
        last = {key: value[-1:] for key, value in batch.items()}
        assert torch.equal(system.hole(last), system.hole(batch)[-1:])
        del batch["index"]
        assert torch.equal(system.hole(batch), made().hole(batch)), "the centre, with no number"


def test_the_data_s_masks_are_the_holes_with_mask_data_only():
    batch = picture_batch(0)
    for draw in (ContextEncoder.hole, ContextEncoder.drawn_hole):
        assert torch.equal(draw(made(mask="data"), batch), batch["mask"])
        assert torch.equal(draw(made(), batch), draw(made(), without_mask()))
    for mask in ("blocks", "region"):  # judged by the kind of hole that it has learned to fill
        assert torch.equal(made(mask=mask).hole(batch), made(mask=mask).hole(without_mask()))
    assert ContextEncoder.needed(ContextEncoderSettings()) == ("image",)
    assert ContextEncoder.needed(ContextEncoderSettings(mask="data")) == ("image", "mask")


def test_masks_without_any_hole_are_refused_at_the_first_step():
    batch = picture_batch(0) | {"mask": torch.zeros(4, 1, 32, 32)}
    with pytest.raises(DataError, match="no mask of the first batch has a hole, which is white"):
        made(mask="data").share(batch, Progress(0, 2))
    made(mask="data").share(batch, Progress(1, 2))


@pytest.mark.parametrize("mask", MASKS)
def test_a_user_s_hole_comes_first(mask):
    batch = picture_batch(0)
    batch["hole"] = 1 - batch["mask"]
    system = made(mask=mask)
    assert system.takes_hole
    assert torch.equal(system.hole(batch), batch["hole"])
    for knobs in ({"predict": "centre", "overlap": 0}, {"mask": "none"}):
        system = made(**knobs)
        assert not system.takes_hole
        assert torch.equal(system.hole(batch), system.hole(picture_batch(0)))


def test_without_a_hole_it_is_a_plain_autoencoder():
    system, batch = made(mask="none", lambda_adversarial=0.0).eval(), picture_batch(0)
    assert torch.equal(system.given(batch), batch["image"])
    assert system.measures() == []
    with torch.no_grad():
        prediction = system.generator(batch["image"])
        assert torch.equal(system.generate(batch), prediction)
    terms = system.generator_loss(batch, system.share(batch, Progress(0, 1)))
    expected = 0.999 * functional.mse_loss(prediction, batch["image"])
    torch.testing.assert_close(terms["l2"].detach(), expected)


def test_the_generator_learns_ten_times_faster_than_the_discriminator():
    system = made()
    rates = [
        system.optimizer(network).param_groups[0]["lr"]
        for network in (system.generator, system.discriminator)
    ]
    assert rates == [2e-3, 2e-4]
    alike = made(lr=1e-3, lr_discriminator=None)
    assert alike.optimizer(alike.discriminator).param_groups[0]["lr"] == 1e-3
    assert [turn.name for turn in system.stages(9)[0].turns] == ["discriminator", "generator"]


def test_the_measures_look_into_the_hole_only():
    system, batch = made(), without_mask()
    real = batch["image"] * 0
    fake = real.clone()
    fake[..., :8, :] = 1.0  # outside
    fake[:, :, 8:16, 8:24] = 0.5  # half of the hole, a quarter of the range
    found = {m.name: m.of(fake, real, batch) for m in system.measures()}
    torch.testing.assert_close(found["hole_l1_percent"], torch.full((4,), 12.5))
    torch.testing.assert_close(found["hole_l2_percent"], torch.full((4,), 100 * 0.0625 / 2))
    torch.testing.assert_close(
        found["hole_psnr"], torch.full((4,), -10.0) * (0.0625 / 2 + torch.zeros(4)).log10()
    )
    empty = dict(batch, hole=torch.zeros(4, 1, 32, 32))
    with pytest.raises(DataError, match="has no hole in which to judge"):
        system.measures()[0].of(fake, real, empty)


def test_the_encoder_is_of_use_alone():
    system = made().eval()
    features = system.encoder(picture_batch(0)["image"])
    assert features.shape == (4, 16, 4, 4)  # 4, 8, 16 channels; 32 px halved three times
    assert system.stride == 8


def test_the_channelwise_layer_connects_the_pixels_of_each_map_only():
    torch.manual_seed(0)
    layer = ChannelwiseLinear(2, (2, 3))
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(3, 2, 2, 3, requires_grad=True)
    result = layer(x)
    expected = torch.empty_like(result)
    for b in range(3):
        for m in range(2):
            for j in range(6):
                total = layer.bias[m, j].clone()
                for i in range(6):
                    total += x[b, m, i // 3, i % 3] * layer.weight[m, i, j]
                expected[b, m, j // 3, j % 3] = total
    torch.testing.assert_close(result, expected)
    (gradient,) = torch.autograd.grad(result[0, 0].sum(), x)
    assert gradient[0, 0].ne(0).all()
    assert gradient[0, 1].eq(0).all()


@pytest.mark.parametrize("bottleneck", ["channelwise", "conv"])
def test_networks_take_rectangles_float64_and_tensors_without_values(bottleneck):
    network = Inpainter(2, 5, (48, 32), 3, 3, bottleneck, units=7)
    assert network.double()(torch.zeros(2, 2, 48, 32).double()).shape == (2, 5, 48, 32)
    ghost = network.to("meta")
    assert ghost(torch.empty(2, 2, 48, 32, device="meta", dtype=torch.float64)).shape[1] == 5
    for size in ((40, 40), (39, 7), (4, 4), (2, 3)):
        assert WholeDiscriminator(1, size, 2)(torch.zeros(2, 1, *size)).shape == (2, 1, 1, 1)


def test_the_widths_are_the_official_ones():
    network = Inpainter(3, 3, (128, 128), 64, 5, ups=4)
    convs = [m for m in network.encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == [64, 64, 128, 256, 512]
    ups = [m for m in network.modules() if isinstance(m, torch.nn.ConvTranspose2d)]
    assert [conv.out_channels for conv in ups] == [256, 128, 64, 3]


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"lambda_l2": 0.0, "lambda_adversarial": 0.0}, "leaves nothing to learn from"),
        ({"mask": "region", "overlap": 3}, "--overlap is for centre holes"),
        ({"mask": "data", "predict": "centre"}, "--predict centre is for centre holes"),
        ({"mask": "none", "discriminator": "centre"}, "--discriminator centre is for centre"),
        ({"discriminator": "output", "predict": "centre"}, "--predict centre makes none"),
        ({"lambda_known": 1.0}, "--lambda_known is for random holes and masks"),
        ({"depth": 6}, "cannot be halved 6 times; use --depth 5 or less"),
        ({"hole": 0.01, "overlap": 0}, "a line of one pixel to judge; use a greater --hole"),
        ({"predict": "centre", "depth": 1}, "use --depth 2"),
        ({"predict": "centre", "overlap": 2}, "use --hole 0.375 or less, or --overlap 0"),
        ({"adversarial": "wasserstein"}, "--adversarial must be one of"),
        ({"width": 4096, "depth": 1}, "use a greater --depth, at most 5, or a smaller --width"),
    ],
)
def test_what_cannot_work_is_refused(knobs, words):
    with pytest.raises(SettingsError, match=words):
        made(**knobs)


@pytest.mark.parametrize(
    ("knobs", "refused"),
    [
        ({"bottleneck": "conv", "units": 6}, True),
        ({"depth": 5}, True),
        ({"depth": 5, "norm": "instance"}, False),
        ({"depth": 4}, False),
    ],
)
def test_one_pixel_of_one_picture_has_no_statistics_of_a_batch(knobs, refused):
    system, batch = made(**knobs), picture_batch(0, batch=1)
    if refused:
        with pytest.raises(SettingsError, match=r"single picture.*use a --batch of 2 or more"):
            system.share(batch, Progress(0, 1))
        assert system.eval().generate(batch).shape == (1, 3, 32, 32)
        batch = picture_batch(0, batch=2)
    terms = system.train().generator_loss(batch, system.share(batch, Progress(0, 1)))
    assert terms["l2"].isfinite()


def test_the_smallest_hole_without_overlap_is_filled_without_a_discriminator_of_it():
    assert set(trained(made(hole=0.01, overlap=0, discriminator="picture"))) == TERMS
    assert set(trained(made(hole=0.01, overlap=0, lambda_adversarial=0.0))) == {"generator.l2"}


def test_a_side_that_cannot_be_halved_is_refused():
    with pytest.raises(SettingsError, match="33 x 33 px cannot be halved 1 times; use --size 32"):
        make("context_encoder", facts=Facts(channels={"image": 3}, size=(33, 33)))


def test_pictures_of_another_size_are_refused():
    system = made().eval()
    with pytest.raises(
        DataError, match=r"trained on pictures of 32 x 32 px.*resize the picture to that"
    ):
        system.generate({"image": torch.zeros(1, 3, 64, 64)})
