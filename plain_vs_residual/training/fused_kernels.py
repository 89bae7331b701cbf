"""relu(BN(x) + shortcut) in training mode, for images in channels_last: two Triton kernels forward, two backward.

torch takes eleven for the same in bf16: four and three for BN, two for ReLU, one for the addition and one that
adds up its gradients. Roundings are torch's: BN's output and the sum are rounded to the images' precision;
statistics and the gradients of scale and shift stay fp32. What differs is the order in which numbers are added up.

A kernel runs as many *programs* at once; each computes tiles of R rows (places of images) by B channels. For a
sum over all rows, each program adds up its own, and the one that ends last adds up those sums.
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
    """Say whether all other programs of these channels have stored their sums; the last one resets the ticket."""
    tl.debug_barrier()  # until here, all threads of this program have stored theirs
    last = tl.atomic_add(ticket, 1, sem="acq_rel") == programs - 1
    if last:
        tl.store(ticket, 0)
    return last


@triton.jit
def _statistics(x, sums, tickets, mean, inverse, running_mean, running_var, rows, eps, momentum, C: tl.constexpr,
                R: tl.constexpr, B: tl.constexpr, P: tl.constexpr):  # fmt: skip
    """Mean and 1 / standard deviation of each channel; and the running ones."""
    program, programs = tl.program_id(0), tl.num_programs(0)
    column = tl.program_id(1) * B + tl.arange(0, B)
    count, average, squares = 0.0, tl.zeros((B,), tl.float32), tl.zeros((B,), tl.float32)
    for first in range(program * R, rows, programs * R):
        row = (first + tl.arange(0, R))[:, None]
        value = tl.load(x + row * C + column, row < rows, 0.0).to(tl.float32)
        # Chan et al.: two parts' squared deviations join without cancellation, unlike sums of squares.
        more = tl.minimum(rows - first, R).to(tl.float32)
        own = tl.sum(value, 0) / more
        apart = tl.where(row < rows, value - own, 0.0)
        share = more / (count + more)
        squares += tl.sum(apart * apart, 0) + (own - average) * (own - average) * count * share
        average += (own - average) * share
        count += more
    place = (tl.program_id(1) * P + program) * 3 * B + tl.arange(0, B)
    tl.store(sums + place, tl.zeros((B,), tl.float32) + count)
    tl.store(sums + place + B, average)
    tl.store(sums + place + 2 * B, squares)
    if _ends_last(tickets + tl.program_id(1), programs):
        each = tl.arange(0, P)[:, None]
        stored, there = sums + (tl.program_id(1) * P + each) * 3 * B + tl.arange(0, B), each < programs
        counts = tl.load(stored, there, 0.0, cache_modifier=".cg")  # past this processor's own cache
        averages = tl.load(stored + B, there, 0.0, cache_modifier=".cg")
        average = tl.sum(counts * averages, 0) / rows
        squares = tl.sum(tl.load(stored + 2 * B, there, 0.0, cache_modifier=".cg"), 0)
        squares += tl.sum(counts * (averages - average) * (averages - average), 0)
        tl.store(mean + column, average)
        tl.store(inverse + column, 1 / tl.sqrt_rn(squares / rows + eps))
        before, var = tl.load(running_mean + column), tl.load(running_var + column)
        tl.store(running_mean + column, momentum * average + (1 - momentum) * before)
        tl.store(running_var + column, momentum * squares / (rows - 1) + (1 - momentum) * var)


@triton.jit
def _normalise(x, mean, inverse, weight, bias, shortcut, y, rows, C: tl.constexpr, R: tl.constexpr,
               B: tl.constexpr, ADDS: tl.constexpr):  # fmt: skip
    """y = relu(BN(x) + shortcut)."""
    row, column = (tl.program_id(0) * R + tl.arange(0, R))[:, None], tl.program_id(1) * B + tl.arange(0, B)
    at, inside = row * C + column, row < rows
    value = tl.load(x + at, inside, 0.0).to(tl.float32) - tl.load(mean + column)
    value = tl.load(weight + column) * value * tl.load(inverse + column) + tl.load(bias + column)
    if ADDS:
        value = value.to(y.dtype.element_ty).to(tl.float32)
        value += tl.load(shortcut + at, inside, 0.0).to(tl.float32)
    # Not a maximum with 0, which would hide a NaN: a run that diverges must be seen to.
    tl.store(y + at, tl.where(value < 0, 0.0, value).to(y.dtype.element_ty), inside)


@triton.jit
def _gradient_sums(dy, x, y, mean, inverse, sums, tickets, behind, totals, dweight, rows, C: tl.constexpr,
                   R: tl.constexpr, B: tl.constexpr, P: tl.constexpr):  # fmt: skip
    """The gradient before ReLU, its sum over each channel, and its sum times (x - mean)."""
    program, programs = tl.program_id(0), tl.num_programs(0)
    column = tl.program_id(1) * B + tl.arange(0, B)
    average, total, product = tl.load(mean + column), tl.zeros((B,), tl.float32), tl.zeros((B,), tl.float32)
    for first in range(program * R, rows, programs * R):
        row = (first + tl.arange(0, R))[:, None]
        at, inside = row * C + column, row < rows
        gradient = tl.where(tl.load(y + at, inside, 0.0) <= 0, 0.0, tl.load(dy + at, inside, 0.0))
        tl.store(behind + at, gradient, inside)
        gradient = gradient.to(tl.float32)
        total += tl.sum(gradient, 0)
        product += tl.sum(gradient * (tl.load(x + at, inside, 0.0).to(tl.float32) - average), 0)
    place = (tl.program_id(1) * P + program) * 2 * B + tl.arange(0, B)
    tl.store(sums + place, total)
    tl.store(sums + place + B, product)
    if _ends_last(tickets + tl.program_id(1), programs):
        each = tl.arange(0, P)[:, None]
        stored, there = sums + (tl.program_id(1) * P + each) * 2 * B + tl.arange(0, B), each < programs
        product = tl.sum(tl.load(stored + B, there, 0.0, cache_modifier=".cg"), 0)
        tl.store(totals + column, tl.sum(tl.load(stored, there, 0.0, cache_modifier=".cg"), 0))
        tl.store(totals + C + column, product)
        tl.store(dweight + column, product * tl.load(inverse + column))


@triton.jit
def _gradient(
    behind, x, mean, inverse, weight, totals, dx, rows, C: tl.constexpr, R: tl.constexpr, B: tl.constexpr
):
    """The gradient of BN's input, from that of its output."""
    row, column = (tl.program_id(0) * R + tl.arange(0, R))[:, None], tl.program_id(1) * B + tl.arange(0, B)
    at, inside, by = row * C + column, row < rows, tl.load(inverse + column)
    apart = tl.load(x + at, inside, 0.0).to(tl.float32) - tl.load(mean + column)
    gradient = tl.load(behind + at, inside, 0.0).to(tl.float32) - tl.load(totals + column) / rows
    gradient -= apart * (by * by * tl.load(totals + C + column) / rows)
    tl.store(dx + at, (gradient * (tl.load(weight + column) * by)).to(dx.dtype.element_ty), inside)


class _Grids:
    """How the rows of images (rows, C) are shared out among programs."""

    def __init__(self, x: Tensor) -> None:
        channels = x.shape[1]
        self.rows, block = x.numel() // channels, min(channels, 64)
        self.tile = {"C": channels, "R": TILE // block, "B": block, "num_warps": 8}
        tiles, self.columns = triton.cdiv(self.rows, TILE // block), channels // block
        self.covering, self.adding = (tiles, self.columns), (min(tiles, SUMS // block, PROGRAMS), self.columns)
        self.parts = triton.next_power_of_2(self.adding[0])

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
        ctx.adds, ctx.tickets, grids, y = shortcut is not None, tickets, _Grids(x), torch.empty_like(x)
        mean, inverse = torch.empty_like(weight), torch.empty_like(weight)
        momentum = bn.momentum if bn.track_running_stats else 0.0
        _statistics[grids.adding](x, grids.space(x), tickets, mean, inverse, bn.running_mean, bn.running_var,
                                  grids.rows, bn.eps, momentum, P=grids.parts, **grids.tile)  # fmt: skip
        _normalise[grids.covering](x, mean, inverse, weight, bias, shortcut if ctx.adds else x, y, grids.rows,
                                   ADDS=ctx.adds, **grids.tile)  # fmt: skip
        ctx.save_for_backward(x, y, mean, inverse, weight)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, y, mean, inverse, weight = ctx.saved_tensors
        dy, grids = dy.contiguous(memory_format=torch.channels_last), _Grids(x)
        behind, dx, dweight = torch.empty_like(x), torch.empty_like(x), torch.empty_like(mean)
        totals = mean.new_empty(2, len(mean))
        _gradient_sums[grids.adding](dy, x, y, mean, inverse, grids.space(x), ctx.tickets, behind, totals, dweight,
                                     grids.rows, P=grids.parts, **grids.tile)  # fmt: skip
        _gradient[grids.covering](behind, x, mean, inverse, weight, totals, dx, grids.rows, **grids.tile)
        return dx, dweight, totals[0], behind if ctx.adds else None, None, None


_normalised: Callable[..., Tensor] = _Normalised.apply


def can_normalise(bn: nn.BatchNorm2d, x: Tensor) -> bool:
    """Say whether the kernels are for these images: a power of two of channels, in channels_last."""
    return (
        x.dim() == 4
        and not x.shape[1] & (x.shape[1] - 1)
        and x.is_contiguous(memory_format=torch.channels_last)
        and bn.training
        and bn.affine
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
