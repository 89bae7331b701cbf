"""Pad, crop and mirror a whole batch at once (He et al., Sec. 4.2)."""

import torch
from torch import Tensor


def crop_and_flip(
    padded: Tensor, mean: Tensor, indices: Tensor, crops: Tensor, flips: Tensor, image_size: int
) -> tuple[Tensor, Tensor]:
    """Gather a batch of random crops, mirrored where asked, with the crop of the mean that belongs to each.

    Zero padding comes after the subtraction of the mean in the paper: image and mean are both padded with
    zeros, so that their difference is zero there.

    Args:
        padded: all images with zero borders, uint8 (num_images, H + 2p, W + 2p, C).
        mean: the mean image with zero borders, float (H + 2p, W + 2p, C).
        indices: which images, int64 (N).
        crops: row and column of each crop's corner in the padded image, int64 (N, 2).
        flips: whether each crop is mirrored left to right, bool (N).
        image_size: side of the crop in pixels.

    Returns:
        Pixels uint8 and means float, both (N, image_size, image_size, C).
    """
    steps = torch.arange(image_size, device=padded.device)
    rows = (crops[:, :1] + steps)[:, :, None]
    columns = (crops[:, 1:] + torch.where(flips[:, None], steps.flip(0), steps))[:, None, :]
    return padded[indices[:, None, None], rows, columns], mean[rows, columns]
