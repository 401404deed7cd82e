"""Features of each instance of a picture: found, averaged, remembered by class and drawn."""

import torch
from torch import Tensor, nn
from torch.nn import functional

DECAY = 0.99  # of what is remembered, with each batch or part of one: the encoder moves on


def connected(regions: Tensor) -> Tensor:
    """Number the connected regions of equal pixels: [B, C, H, W] to int64 [B, H, W].

    Two of four neighbours belong together if they agree in all channels. A region's number is
    that of its first pixel, counted through the whole batch.
    """
    pixels = torch.arange(
        regions.shape[0] * regions.shape[-2] * regions.shape[-1], device=regions.device
    ).view(regions.shape[0], *regions.shape[-2:])
    below = (regions[..., 1:, :] == regions[..., :-1, :]).all(1)
    beside = (regions[..., 1:] == regions[..., :-1]).all(1)
    first = torch.cat([pixels[:, :-1][below], pixels[..., :-1][beside]])
    second = torch.cat([pixels[:, 1:][below], pixels[..., 1:][beside]])
    number, before = pixels.flatten(), None
    # Every pixel points at one of a lower number in its region. Each round both roots of a pair
    # come to point at the lower one, and ways become half as long, so that few rounds suffice.
    while before is None or not torch.equal(number, before):
        before = number
        roots = before[first], before[second]
        least = torch.minimum(*roots)
        for root in (*roots, first, second):
            number = number.scatter_reduce(0, root, least, "amin")
        number = number[number]
    return number.view_as(pixels)


def numbered(instances: Tensor) -> Tensor:
    """Number the instances of each picture from 0: whole numbers [B, H, W] to int64 [B, H * W].

    In the order of their own numbers, which may be any.
    """
    flat = instances.flatten(1)
    order = flat.argsort(dim=1, stable=True)
    new = flat.gather(1, order).diff(dim=1) != 0
    return torch.empty_like(order).scatter(1, order, functional.pad(new.long().cumsum(1), (1, 0)))


def pool(features: Tensor, instances: Tensor) -> Tensor:
    """Give each pixel the mean over its instance (Wang et al. 2018, section 3.4).

    features: [B, F, H, W]. instances: of `numbered`. Returns the same shape, in float32 or
    better.
    """
    exact = features if features.dtype == torch.float64 else features.float()
    values = exact.permute(0, 2, 3, 1).flatten(0, 2)
    index = _through_batch(instances)
    totals = torch.zeros_like(values).index_add(0, index, values)
    counts = torch.zeros_like(values[:, :1]).index_add(0, index, torch.ones_like(values[:, :1]))
    means = (totals / counts.clamp_min(1)).index_select(0, index)
    return means.view(len(features), *features.shape[2:], -1).permute(0, 3, 1, 2)


def _through_batch(instances: Tensor) -> Tensor:
    """Numbers that differ between the pictures too, [B * H * W], below B * H * W."""
    count, pixels = instances.shape
    return (instances + pixels * torch.arange(count, device=instances.device)[:, None]).flatten()


class FeatureBank(nn.Module):
    """Mean and covariance of the features that instances of each class had in training.

    From them features can be drawn where no picture tells them. The reference code keeps ten
    means (k-means) for each class instead, computed after training.
    """

    count: Tensor
    total: Tensor
    product: Tensor

    def __init__(self, classes: int, features: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(classes))
        self.register_buffer("total", torch.zeros(classes, features))
        self.register_buffer("product", torch.zeros(classes, features, features))

    @torch.no_grad()
    def remember(self, features: Tensor, classes: Tensor) -> None:
        """Take note of pooled features [B, F, H, W] of pixels of classes [B, H, W].

        Every pixel counts, so that large instances count more.
        """
        values = features.permute(0, 2, 3, 1).flatten(0, 2).to(self.total.dtype)
        index, share = classes.flatten(), 1 / classes.numel()
        seen = torch.zeros_like(self.count).index_add(0, index, torch.ones_like(values[:, 0]))
        # Only classes that are there forget: the rare ones would be forgotten altogether.
        kept = torch.where(seen > 0, DECAY, 1.0)
        products = (values[:, :, None] * values[:, None]).flatten(1)
        totals = torch.zeros_like(self.total).index_add(0, index, values)
        squares = torch.zeros_like(self.product).flatten(1).index_add(0, index, products)
        self.count.mul_(kept).add_(seen * share)
        self.total.mul_(kept[:, None]).add_(totals * share)
        self.product.mul_(kept[:, None, None]).add_(squares.view_as(self.product) * share)

    def draw(self, classes: Tensor, instances: Tensor) -> Tensor:
        """Draw features for each instance: [B, F, H, W], in [-1, 1].

        classes: [B, H, W]; instances: of `numbered`. The noise of PyTorch's generator is the same
        for all pictures of a batch, so that each is what it would be alone.
        """
        means, roots = self._distributions()
        noise = torch.randn(instances.shape[1], means.shape[1], device=means.device)
        own = noise.to(means.dtype)[instances].flatten(0, 1)
        index = classes.flatten()
        # Products and sums, which autocast leaves in full precision.
        drawn = means[index] + (roots[index] * own[:, None]).sum(2)
        drawn = drawn.clamp(-1, 1).view(*classes.shape, -1).permute(0, 3, 1, 2)
        return drawn.to(self.total.dtype)

    def _distributions(self) -> tuple[Tensor, Tensor]:
        """Mean [K, F] and symmetric root of the covariance [K, F, F] of each class, in float64."""
        count, total, product = self.count.double(), self.total.double(), self.product.double()
        known = count > 0  # a class never seen has the features of all others together
        count = torch.where(known, count, count.sum()).clamp_min(1e-12)
        total = torch.where(known[:, None], total, total.sum(0))
        product = torch.where(known[:, None, None], product, product.sum(0))
        means = total / count[:, None]
        covariance = product / count[:, None, None] - means[:, :, None] * means[:, None]
        values, vectors = torch.linalg.eigh(covariance)
        scaled = vectors * values.clamp_min(0).sqrt()[:, None]
        return means, (scaled[:, :, None] * vectors[:, None]).sum(3)
