"""Several processes that train one system: started by torchrun, joined once per turn."""

import atexit
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def join() -> None:
    """Join the group that torchrun started, if it did; nccl on CUDA, gloo elsewhere.

    The others wait while the first process judges, so the wait may be long.
    """
    if not dist.is_torchelastic_launched() or dist.is_initialized():
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    dist.init_process_group(backend, timeout=timedelta(days=1))


def meet() -> None:
    """Wait for the others at the end of a training; the group is left when Python ends.

    Not now: a group that was left cannot be joined again, and there may be another training.
    Without the wait, gloo now and then aborts at the end.
    """
    if dist.is_initialized():
        dist.barrier()
        atexit.unregister(_leave)
        atexit.register(_leave)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """This process's number, 0 for the one that writes files."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def average(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its mean over all processes, in one message per type."""
    if not dist.is_initialized():
        return
    for kind in dict.fromkeys((t.dtype, t.device) for t in tensors):
        same = [t for t in tensors if (t.dtype, t.device) == kind]
        flat = torch.cat([t.flatten() for t in same])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for tensor, mean in zip(same, flat.split([t.numel() for t in same]), strict=True):
            tensor.copy_(mean.view_as(tensor))


def any_process(flag: bool, device: torch.device) -> bool:
    """True for all if it is true for one."""
    if not dist.is_initialized():
        return flag
    votes = torch.tensor([float(flag)], device=device)
    dist.all_reduce(votes)
    return votes.item() > 0


def gather(value: Any) -> list[Any]:
    """The values of all processes, in the order of their ranks; the same list for each."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def from_first(value: Any) -> Any:
    """The first process's value, for all."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]
