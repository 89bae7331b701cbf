"""relu(BN(x) + shortcut) in training mode, for images in channels_last: two Triton kernels forward, two backward.

torch takes eleven for the same in bf16: four and three for BN, two for ReLU, one for the addition and one that
adds up its gradients. Roundings are torch's: BN's output and the sum are rounded to the images' precision;
statistics and the gradients of scale and shift stay fp32. What differs is the order in which numbers are added up.

A kernel runs as many *programs* at once, in a grid: along axis 0 they share the rows (places of images), along
axis 1 the channels. For a sum over all rows, each program adds up its own rows, and the one that ends last adds up
those sums.

C: channels. B: channels of a tile. R: rows of a tile. P: programs along axis 0, rounded up to a power of two.
"""

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

TILE = 8192  # numbers in a tile
SUMS = 16384  # how many numbers the last program adds up, at most: one per program and channel
PROGRAMS = 512


@triton.jit
def _ends_last(ticket, programs):
    """Say whether all other programs of these channels have stored their sums.

    The ticket counts the programs that have. The last one sets it back to 0.
    """
    tl.debug_barrier()  # until here, all threads of this program have stored theirs
    last = tl.atomic_add(ticket, 1, sem="acq_rel") == programs - 1
    if last:
        tl.store(ticket, 0)
    return last


@triton.jit
def _statistics(x, sums, tickets, mean, inverse_std, running_mean, running_var, rows, eps, momentum,
                C: tl.constexpr, R: tl.constexpr, B: tl.constexpr, P: tl.constexpr):  # fmt: skip
    """Mean and 1 / standard deviation of each channel; and the running ones."""
    program, programs = tl.program_id(0), tl.num_programs(0)
    column = tl.program_id(1) * B + tl.arange(0, B)
    count, average, squares = 0.0, tl.zeros((B,), tl.float32), tl.zeros((B,), tl.float32)
    for first in range(program * R, rows, programs * R):
        row = (first + tl.arange(0, R))[:, None]
        value = tl.load(x + row * C + column, row < rows, 0.0).to(tl.float32)
        # Chan et al.: two parts' squared deviations join without cancellation, unlike sums of squares:
        # squares = squares_1 + squares_2 + (mean_1 - mean_2)**2 count_1 count_2 / (count_1 + count_2).
        tile_rows = tl.minimum(rows - first, R).to(tl.float32)
        tile_mean = tl.sum(value, 0) / tile_rows
        centred = tl.where(row < rows, value - tile_mean, 0.0)
        tile_share = tile_rows / (count + tile_rows)
        squares += (
            tl.sum(centred * centred, 0) + (tile_mean - average) * (tile_mean - average) * count * tile_share
        )
        average += (tile_mean - average) * tile_share
        count += tile_rows
    # In memory: for each block of channels, for each program: B counts, B means, B sums of squared deviations.
    place = (tl.program_id(1) * P + program) * 3 * B + tl.arange(0, B)
    tl.store(sums + place, tl.zeros((B,), tl.float32) + count)
    tl.store(sums + place + B, average)
    tl.store(sums + place + 2 * B, squares)
    if _ends_last(tickets + tl.program_id(1), programs):
        each = tl.arange(0, P)[:, None]
        stored, there = sums + (tl.program_id(1) * P + each) * 3 * B + tl.arange(0, B), each < programs
        counts = tl.load(stored, there, 0.0, cache_modifier=".cg")  # not from this processor's own cache
        averages = tl.load(stored + B, there, 0.0, cache_modifier=".cg")
        average = tl.sum(counts * averages, 0) / rows
        squares = tl.sum(tl.load(stored + 2 * B, there, 0.0, cache_modifier=".cg"), 0)
        squares += tl.sum(counts * (averages - average) * (averages - average), 0)
        tl.store(mean + column, average)
        tl.store(inverse_std + column, 1 / tl.sqrt_rn(squares / rows + eps))
        if momentum > 0:
            before, var = tl.load(running_mean + column), tl.load(running_var + column)
            tl.store(running_mean + column, momentum * average + (1 - momentum) * before)
            tl.store(running_var + column, momentum * squares / (rows - 1) + (1 - momentum) * var)


@triton.jit
def _normalise(x, mean, inverse_std, weight, bias, shortcut, y, rows, C: tl.constexpr, R: tl.constexpr,
               B: tl.constexpr, ADDS: tl.constexpr):  # fmt: skip
    """y = relu(BN(x) + shortcut)."""
    row, column = (tl.program_id(0) * R + tl.arange(0, R))[:, None], tl.program_id(1) * B + tl.arange(0, B)
    at, inside = row * C + column, row < rows
    value = tl.load(x + at, inside, 0.0).to(tl.float32) - tl.load(mean + column)
    value = tl.load(weight + column) * value * tl.load(inverse_std + column) + tl.load(bias + column)
    if ADDS:
        value = value.to(y.dtype.element_ty).to(tl.float32)
        value += tl.load(shortcut + at, inside, 0.0).to(tl.float32)
    # Not a maximum with 0, which would hide a NaN: a run that diverges must be seen to.
    tl.store(y + at, tl.where(value < 0, 0.0, value).to(y.dtype.element_ty), inside)


@triton.jit
def _gradient_sums(dy, x, y, mean, inverse_std, sums, tickets, dz, totals, dweight, rows, C: tl.constexpr,
                   R: tl.constexpr, B: tl.constexpr, P: tl.constexpr):  # fmt: skip
    """dz, the gradient of BN's output and of the shortcut; over each channel the sums of dz and of dz (x - mean).

    The sums go to totals, C of the first (the gradient of the shift), then C of the second.
    """
    program, programs = tl.program_id(0), tl.num_programs(0)
    column = tl.program_id(1) * B + tl.arange(0, B)
    average, total, product = tl.load(mean + column), tl.zeros((B,), tl.float32), tl.zeros((B,), tl.float32)
    for first in range(program * R, rows, programs * R):
        row = (first + tl.arange(0, R))[:, None]
        at, inside = row * C + column, row < rows
        # NaN <= 0 is false: the gradient of what is no number passes, as in torch.
        gradient = tl.where(tl.load(y + at, inside, 0.0) <= 0, 0.0, tl.load(dy + at, inside, 0.0))
        tl.store(dz + at, gradient, inside)
        gradient = gradient.to(tl.float32)
        total += tl.sum(gradient, 0)
        product += tl.sum(gradient * (tl.load(x + at, inside, 0.0).to(tl.float32) - average), 0)
    # In memory: for each block of channels, for each program: B sums of each kind.
    place = (tl.program_id(1) * P + program) * 2 * B + tl.arange(0, B)
    tl.store(sums + place, total)
    tl.store(sums + place + B, product)
    if _ends_last(tickets + tl.program_id(1), programs):
        each = tl.arange(0, P)[:, None]
        stored, there = sums + (tl.program_id(1) * P + each) * 2 * B + tl.arange(0, B), each < programs
        product = tl.sum(tl.load(stored + B, there, 0.0, cache_modifier=".cg"), 0)
        tl.store(totals + column, tl.sum(tl.load(stored, there, 0.0, cache_modifier=".cg"), 0))
        tl.store(totals + C + column, product)
        tl.store(dweight + column, product * tl.load(inverse_std + column))


@triton.jit
def _gradient(dz, x, mean, inverse_std, weight, totals, dx, rows, C: tl.constexpr, R: tl.constexpr,
              B: tl.constexpr):  # fmt: skip
    """dx = weight / std (dz - mean(dz) - (x - mean) / std**2 mean(dz (x - mean)))."""
    row, column = (tl.program_id(0) * R + tl.arange(0, R))[:, None], tl.program_id(1) * B + tl.arange(0, B)
    at, inside = row * C + column, row < rows
    by_std = tl.load(inverse_std + column)
    centred = tl.load(x + at, inside, 0.0).to(tl.float32) - tl.load(mean + column)
    gradient = tl.load(dz + at, inside, 0.0).to(tl.float32) - tl.load(totals + column) / rows
    gradient -= centred * (by_std * by_std * tl.load(totals + C + column) / rows)
    tl.store(dx + at, (gradient * (tl.load(weight + column) * by_std)).to(dx.dtype.element_ty), inside)


class _Grids:
    """How the rows of images (rows, C) are shared out among programs."""

    def __init__(self, x: Tensor) -> None:
        channels = x.shape[1]
        block = min(channels, 64)
        self.rows = x.numel() // channels
        self.tile = {"C": channels, "R": TILE // block, "B": block, "num_warps": 8}
        tiles, blocks = triton.cdiv(self.rows, TILE // block), channels // block
        self.for_tiles = (tiles, blocks)
        self.for_sums = (min(tiles, SUMS // block, PROGRAMS), blocks)
        self.parts = triton.next_power_of_2(self.for_sums[0])

    def space(self, x: Tensor) -> Tensor:
        """Return room for the sums of all programs."""
        return torch.empty(3 * self.parts * x.shape[1], device=x.device)


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        shortcut: Tensor | None,
        bn: nn.BatchNorm2d,
        tickets: Tensor,
    ) -> Tensor:
        ctx.adds, ctx.tickets = shortcut is not None, tickets
        grids, y = _Grids(x), torch.empty_like(x)
        mean, inverse_std = torch.empty_like(weight), torch.empty_like(weight)
        momentum = bn.momentum if bn.track_running_stats else 0.0  # 0 leaves the running statistics alone
        _statistics[grids.for_sums](x, grids.space(x), tickets, mean, inverse_std, bn.running_mean, bn.running_var,
                                    grids.rows, bn.eps, momentum, P=grids.parts, **grids.tile)  # fmt: skip
        added = x if shortcut is None else shortcut  # a kernel wants a pointer, also where it does not read
        _normalise[grids.for_tiles](x, mean, inverse_std, weight, bias, added, y, grids.rows, ADDS=ctx.adds,
                                    **grids.tile)  # fmt: skip
        ctx.save_for_backward(x, y, mean, inverse_std, weight)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, y, mean, inverse_std, weight = ctx.saved_tensors
        dy, grids = dy.contiguous(memory_format=torch.channels_last), _Grids(x)
        dz, dx, dweight = torch.empty_like(x), torch.empty_like(x), torch.empty_like(mean)
        totals = mean.new_empty(2, len(mean))
        _gradient_sums[grids.for_sums](dy, x, y, mean, inverse_std, grids.space(x), ctx.tickets, dz, totals,
                                       dweight, grids.rows, P=grids.parts, **grids.tile)  # fmt: skip
        _gradient[grids.for_tiles](dz, x, mean, inverse_std, weight, totals, dx, grids.rows, **grids.tile)
        return dx, dweight, totals[0], dz if ctx.adds else None, None, None


_normalised: Callable[..., Tensor] = _Normalised.apply


def can_normalise(bn: nn.BatchNorm2d, x: Tensor) -> bool:
    """Say whether the kernels are for these images: a power of two of channels, in channels_last."""
    return (
        x.dim() == 4
        and not x.shape[1] & (x.shape[1] - 1)
        and x.is_contiguous(memory_format=torch.channels_last)
        and bn.training
        and bn.affine
        and bn.running_mean is not None
        and bn.momentum is not None
    )


def normalised(bn: nn.BatchNorm2d, x: Tensor, shortcut: Tensor | None, tickets: Tensor) -> Tensor:
    """Return relu(bn(x) + shortcut) in training mode, and update the running statistics.

    Args:
        bn: a layer for which :func:`can_normalise` holds.
        x: images of shape (N, C, H, W), in channels_last.
        shortcut: of the same shape, precision and order, or None.
        tickets: int32 zeros of the layer's own, one per 64 channels at least; the kernels leave them zeros.
    """
    return _normalised(x, bn.weight, bn.bias, shortcut, bn, tickets)
