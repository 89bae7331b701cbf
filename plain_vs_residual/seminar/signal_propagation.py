"""Mean and variance of what each block passes on, before training (BN by the batch, T).

Brock et al. (2021), Characterizing Signal Propagation to Close the Performance Gap in Unnormalized ResNets,
Sec. 2: in a residual network the variance grows by a constant from block to block.
"""

import torch
from torch import Tensor, nn

from plain_vs_residual.blocks import PlainBlock
from plain_vs_residual.records.models import MeasuredRow
from plain_vs_residual.seminar.subject import Measured, Subject

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
    found: dict[str, dict[str, float]] = {}
    hooks = []
    for name, block in network.named_modules():
        if isinstance(block, PlainBlock):
            numbers = found[name] = {}

            def note_convolution(
                _module: nn.Module, _inputs: object, output: Tensor, numbers: dict[str, float] = numbers
            ) -> None:
                numbers["before_bn"] = _variance(output)

            def note_block(
                _module: nn.Module, _inputs: object, output: Tensor, numbers: dict[str, float] = numbers
            ) -> None:
                numbers["variance"] = _variance(output)
                numbers["squared_mean"] = output.mean(dim=(0, 2, 3)).square().mean().item()

            hooks += [
                block.layers()[-1][0].register_forward_hook(note_convolution),
                block.register_forward_hook(note_block),
            ]
    network.train()
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _variance(output: Tensor) -> float:
    return output.var(dim=(0, 2, 3), correction=0).mean().item()
