"""Tailored activations: the leaky ReLU with which a deep plain network trains without BN (Zhang et al., 2022).

In a deep ReLU network any two images look more alike from layer to layer, until the last one cannot tell them
apart. A leaky ReLU does the same more slowly, the more slowly the larger its slope for negative numbers. So the
slope is chosen for the depth: images that have nothing in common (cosine 0) reach a cosine of 0.9 at the end.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from plain_vs_residual.blocks import ConvBN, PlainBlock

FINAL_COSINE = 0.9  # eta in the paper


def cosine_after(cosine: float, slope: float) -> float:
    """Return the cosine of two inputs behind one layer of many random weights and a leaky ReLU (the C map).

    That is E[f(u) f(v)] / E[f(u)^2] for u and v normal with this correlation (Cho and Saul, 2009, for ReLU).
    """
    bend = (1 - slope) ** 2 / (math.pi * (1 + slope**2))
    return min(cosine + bend * (math.sqrt(1 - cosine**2) - cosine * math.acos(cosine)), 1.0)


def final_cosine(num_layers: int, slope: float) -> float:
    """Return the cosine behind a number of layers of two inputs that have nothing in common."""
    cosine = 0.0
    for _ in range(num_layers):
        cosine = cosine_after(cosine, slope)
    return cosine


def slope_for(num_layers: int) -> float:
    """Return the slope for which that cosine is FINAL_COSINE, by halving an interval; 0 (ReLU) for a few layers.

    >>> round(slope_for(55), 3)
    0.452
    """
    too_small, too_large = 0.0, 1.0
    if final_cosine(num_layers, 0.0) <= FINAL_COSINE:
        return 0.0
    for _ in range(60):
        middle = (too_small + too_large) / 2
        if final_cosine(num_layers, middle) > FINAL_COSINE:
            too_small = middle
        else:
            too_large = middle
    return too_large


def gain_for(slope: float) -> float:
    """Return by what a leaky ReLU is multiplied so that E[f(u)^2] = 1 for u standard normal."""
    return math.sqrt(2 / (1 + slope**2))


class TailoredBlock(PlainBlock):
    """A plain block with leaky ReLU, times a constant, in the place of ReLU."""

    def __init__(self, layers: list[ConvBN], slope: float) -> None:
        super().__init__(layers)
        self.slope = slope

    def activation(self, x: Tensor) -> Tensor:
        """Compute the tailored activation."""
        return gain_for(self.slope) * leaky_relu(x, self.slope)

    def residual_function(self, x: Tensor) -> Tensor:
        for number, (convolution, normalisation) in enumerate(self.layers()):
            x = normalisation(convolution(self.activation(x) if number else x))
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.residual_function(x))


class TailoredAfterRelu(nn.Module):
    """The tailored activation of x, of which relu(x) beside relu(-x) is left: (N, 2C, H, W) to (N, C, H, W).

    The ReLU of the stem is in ``Network.forward``, where it stays.
    """

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, rectified: Tensor) -> Tensor:
        positive, negative = torch.chunk(rectified, 2, dim=1)
        return gain_for(self.slope) * (positive - self.slope * negative)
