"""Imports torchvision beside a CPU build of torch.

torchvision's wheels on the package index are built for CUDA; beside a CPU build of torch their compiled
operators do not load, and ``import torchvision`` fails with "operator torchvision::nms does not exist".
Declaring the missing operators first makes the import work. Nothing here uses them.
"""

import torch

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::" not in str(error):
        raise
    import sys

    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _operators = torch.library.Library("torchvision", "FRAGMENT")
    _operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

__all__ = ["torchvision"]
