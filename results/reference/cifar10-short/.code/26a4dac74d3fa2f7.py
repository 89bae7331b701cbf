"""Looking on while a network computes: the one place that registers hooks."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain

from torch import Tensor, nn

Observer = Callable[[Tensor, Tensor], object]


@contextmanager
def watched(network: nn.Module, *observers: Mapping[str, Observer]) -> Iterator[None]:
    """Hand the input and output of some layers to functions, each time the network computes them.

    The functions are detached when the context ends, also after an exception. What they return is ignored.

    Args:
        network: computes inside the context.
        observers: functions of input and output by the layer's name, as ``layer1.0.conv1``; more than one mapping
            where several functions look at one layer.

    Raises:
        AttributeError: if the network has no layer of that name.

    >>> import torch
    >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> with watched(network, {"0": lambda x, output: print(tuple(x.shape), tuple(output.shape))}):
    ...     output = network(torch.zeros(5, 2))
    (5, 2) (5, 3)
    """
    with ExitStack() as hooks:
        for name, observer in chain.from_iterable(one.items() for one in observers):
            layer = network.get_submodule(name)
            hooks.enter_context(layer.register_forward_hook(partial(_hand_to, observer)))
        yield


def _hand_to(observer: Observer, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    observer(inputs[0], output)  # torch puts whatever a hook returns in the output's place
