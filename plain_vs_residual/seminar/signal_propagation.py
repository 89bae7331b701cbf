"""Mean and variance of what each block passes on, before training (BN by the batch, T).

Brock et al. (2021), Characterizing Signal Propagation to Close the Performance Gap in Unnormalized ResNets,
Sec. 2: in a residual network the variance grows by a constant from block to block.
"""

from functools import partial

import torch
from torch import Tensor, nn

from plain_vs_residual.records.rows import MeasuredRow
from plain_vs_residual.seminar.lesions import blocks_of
from plain_vs_residual.seminar.measured import Measured
from plain_vs_residual.subject.subject import Subject
from plain_vs_residual.watching import watched

NUM_IMAGES = 128
COLUMNS = ("stage1_variance",)


def measure(subject: Subject) -> Measured:
    """Send training images through the untrained network, and noise of their shape."""
    images, _ = subject.images(NUM_IMAGES)
    noise = torch.randn(images.shape, generator=subject.generator("noise")).to(images.device)
    rows = [
        MeasuredRow(iteration=0, quantity=f"{quantity}_of_{inputs}", place=name, position=position, value=value)
        for inputs, batch in {"images": images, "noise": noise}.items()
        for position, (name, block) in enumerate(signal(subject.untrained(), batch).items(), start=1)
        for quantity, value in block.items()
    ]
    last_of_stage_1 = [
        row.value for row in rows if row.quantity == "variance_of_images" and row.place.startswith("layer1.")
    ][-1]
    return Measured(rows, {"stage1_variance": last_of_stage_1})


def signal(network: nn.Module, images: Tensor) -> dict[str, dict[str, float]]:
    """Measure what each block passes on; BN normalises by the batch.

    Args:
        network: untrained; its running statistics move.
        images: float (N, C, H, W).

    Returns:
        By name of the block: ``variance``, over images and pixels, and ``squared_mean``, likewise, both averaged
        over channels; and ``before_bn``, the variance of its last convolution's output, before BN.
    """
    found: dict[str, dict[str, float]] = {name: {} for name, _ in blocks_of(network)}

    def note_convolution(block: str, x: Tensor, output: Tensor) -> None:
        found[block]["before_bn"] = _variance(output)

    def note_block(block: str, x: Tensor, output: Tensor) -> None:
        found[block]["variance"] = _variance(output)
        found[block]["squared_mean"] = output.mean(dim=(0, 2, 3)).square().mean().item()

    last_convolutions = {
        f"{name}.conv{block.num_layers}": partial(note_convolution, name) for name, block in blocks_of(network)
    }
    whole_blocks = {name: partial(note_block, name) for name in found}
    network.train()
    with watched(network, last_convolutions, whole_blocks), torch.no_grad():
        network(images)
    return found


def _variance(output: Tensor) -> float:
    return output.var(dim=(0, 2, 3), correction=0).mean().item()
