"""Instances are found, pooled over and remembered as a loop over them by hand would."""

import pytest
import torch

from dragoman.networks.instance_features import FeatureBank, connected, numbered, pool


def flooded(labels):
    """Number the regions of a label map [H, W] by filling each from its first pixel."""
    numbers = torch.full_like(labels, -1)
    for start in torch.cartesian_prod(*map(torch.arange, labels.shape)).tolist():
        ahead = [tuple(start)]
        while ahead:
            y, x = ahead.pop()
            inside = 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]
            if inside and numbers[y, x] < 0 and labels[y, x] == labels[tuple(start)]:
                numbers[y, x] = start[0] * labels.shape[1] + start[1]
                ahead += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
    return numbers


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_regions_are_those_of_a_flood_fill(classes):
    labels = torch.randint(classes, (2, 13, 17), generator=torch.Generator().manual_seed(classes))
    found = connected(labels[:, None])
    for number, one in enumerate(labels):
        assert torch.equal(found[number], flooded(one) + number * one.numel())


def test_a_winding_region_is_one():
    maze = torch.zeros(1, 1, 31, 31)
    maze[:, :, ::2] = 1
    maze[0, 0, 1::4, 30], maze[0, 0, 3::4, 0] = 1, 1
    found = connected(maze)
    assert found[maze[:, 0] == 1].unique().numel() == 1
    assert found.unique().numel() == 16


def test_numbers_count_from_zero_in_each_picture():
    given = torch.tensor([[[26001, 26001], [-1, 7]], [[5, 5], [5, 5]]])
    assert numbered(given).tolist() == [[2, 2, 0, 1], [0, 0, 0, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_pooling_is_the_mean_over_each_instance(dtype):
    drawn = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 6, 5, generator=drawn, dtype=torch.float64).to(dtype)
    features.requires_grad_(True)
    instances = torch.randint(4, (2, 6, 5), generator=drawn) * 1000
    made = pool(features, numbered(instances))
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    wanted = torch.zeros(2, 3, 6, 5, dtype=exact)
    for picture in range(2):
        for number in instances[picture].unique():
            where = instances[picture] == number
            for channel in range(3):
                mean = features[picture, channel][where].to(exact).mean()
                wanted[picture, channel][where] = mean
    torch.testing.assert_close(made, wanted)
    weights = torch.randn(made.shape, generator=drawn).to(exact)
    (gradient,) = torch.autograd.grad((made * weights).sum(), features, retain_graph=True)
    (by_hand,) = torch.autograd.grad((wanted * weights).sum(), features)
    torch.testing.assert_close(gradient, by_hand)


def test_what_is_drawn_has_the_mean_and_covariance_of_the_class():
    bank, drawn = FeatureBank(4, 2), torch.Generator().manual_seed(0)
    classes = torch.arange(2).view(1, 2, 1).expand(1, 2, 4000)
    spread = torch.tensor([[[0.1, 0.05], [0.0, 0.05]], [[0.02, 0.0], [0.0, 0.2]]])
    middle = torch.tensor([[0.3, -0.2], [-0.1, 0.0]])
    noise = torch.randn(2, 4000, 2, generator=drawn)
    values = middle[:, None] + noise @ spread
    bank.remember(values.movedim(2, 0)[None], classes)
    torch.manual_seed(0)
    pixels = torch.arange(8000)[None]
    made = bank.draw(classes, pixels)[0].movedim(0, 2)
    for number in range(2):
        torch.testing.assert_close(made[number].mean(0), middle[number], atol=0.01, rtol=0)
        wanted = spread[number].T @ spread[number]
        torch.testing.assert_close(made[number].T.cov(), wanted, atol=0.003, rtol=0)
    torch.manual_seed(0)
    unseen = bank.draw(classes + 2, pixels)[0].movedim(0, 2).flatten(0, 1)
    torch.testing.assert_close(unseen.mean(0), middle.mean(0), atol=0.01, rtol=0)


def test_an_instance_has_one_draw():
    bank = FeatureBank(1, 2)
    bank.remember(
        torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0)) / 5,
        torch.zeros(1, 4, 4).long(),
    )
    instances = torch.tensor([[0, 0, 1, 1]])
    made = bank.draw(torch.zeros(1, 2, 2).long(), instances)
    assert torch.equal(made[..., 0, 0], made[..., 0, 1])
    assert not torch.equal(made[..., 0, 0], made[..., 1, 0])


def test_a_rare_class_is_not_forgotten_and_a_changed_one_is():
    bank = FeatureBank(2, 1)
    both = torch.tensor([[[0, 1]]])
    bank.remember(torch.tensor([[[[0.2, 0.8]]]]), both)
    for _ in range(2000):
        bank.remember(torch.full((1, 1, 1, 2), -0.5), torch.zeros_like(both))
    drawn = bank.draw(both, torch.tensor([[0, 1]]))
    torch.testing.assert_close(drawn, torch.tensor([[[[-0.5, 0.8]]]]), atol=1e-3, rtol=0)
