"""Published networks of the CIFAR family that pad option A on both sides: the same logits after a permutation."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad, relu

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.cli import app as cli
from plain_vs_residual.subject.from_checkpoint import open_checkpoint
from plain_vs_residual.subject.padding import zeros_moved_to_the_end
from plain_vs_residual.subject.weights import read_weights
from tests.conftest import network_of


class PublishedBlock(nn.Module):
    """A basic block as published: every second pixel, a quarter of the new channels' number on each side."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.pads = stride != 1 or in_channels != out_channels
        self.side = out_channels // 4

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        if self.pads:
            x = pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.side, self.side), "constant", 0)
        return relu(out + x)


class PublishedNetwork(nn.Module):
    """The 6n+2 family as published, written without this package."""

    def __init__(self, num_blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        channels = 16
        for stage, width in enumerate((16, 32, 64), start=1):
            blocks = []
            for index in range(num_blocks):
                blocks.append(PublishedBlock(channels, width, 2 if stage > 1 and index == 0 else 1))
                channels = width
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = relu(self.bn1(self.conv1(images)))
        for stage in (1, 2, 3):
            x = self.get_submodule(f"layer{stage}")(x)
        logits: Tensor = self.linear(avg_pool2d(x, x.shape[3]).flatten(1))
        return logits


@pytest.fixture
def published(tmp_path: Path) -> tuple[PublishedNetwork, Path]:
    """A ResNet-20 of theirs with BN statistics of its own, and its checkpoint."""
    torch.manual_seed(0)
    network = PublishedNetwork(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    path = tmp_path / "resnet20.th"
    torch.save({"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}, path)
    return network.eval(), path


def test_a_network_that_pads_both_sides_gives_its_own_logits(published: tuple[PublishedNetwork, Path]) -> None:
    theirs, path = published
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    ours = network_of("cifar-residual20-A", channels=3, num_classes=10).eval()
    state = read_weights(path)
    with torch.no_grad():
        expected = theirs(images)
        ours.load_state_dict(state)
        assert not torch.allclose(ours(images), expected, atol=0.1)  # loads without complaint, computes nonsense
        ours.load_state_dict(zeros_moved_to_the_end(state, Architecture.parse("cifar-residual20-A")))
        torch.testing.assert_close(ours(images), expected, atol=1e-5, rtol=1e-5)


def test_it_is_asked_for_on_the_command_line(
    published: tuple[PublishedNetwork, Path], image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, path = published
    opened = open_checkpoint(
        path,
        network="cifar-residual20-A",
        setting=None,
        data=image_folder,
        normalise="imagenet",
        part="validation",
        device=torch.device("cpu"),
        precision="fp32",
        zero_padding="both",
    )
    ((images, _),) = opened.batches("validation")
    with torch.no_grad():
        torch.testing.assert_close(opened.network.eval()(images), theirs(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("network", "padding", "words"),
    [("cifar-plain20", "both", "only option A does"), ("cifar-residual20-A", "left", "accepted are end and both")],
)
def test_padding_that_makes_no_sense_is_one_line(
    published: Any,
    image_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    network: str,
    padding: str,
    words: str,
) -> None:
    options = ("--normalise", "imagenet", "--data", image_folder, "--device", "cpu", "--zero-padding", padding)
    arguments = ("evaluate", published[1], "--network", network, *options)
    monkeypatch.setattr("sys.argv", ["x", *map(str, arguments)])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert words in capsys.readouterr().err


def test_an_error_near_chance_is_pointed_out(
    tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = network_of("cifar-residual20-A", channels=3, num_classes=3)
    with torch.no_grad():
        network.fc.weight.zero_()
        network.fc.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))  # always the first class: two of three are wrong
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    options = ("--network", "cifar-residual20-A", "--normalise", "imagenet", "--data", image_folder)
    monkeypatch.setattr("sys.argv", ["x", "evaluate", str(tmp_path / "weights.pt"), *map(str, options)])
    cli.main()
    assert "note: that is near chance (66.7 %)" in capsys.readouterr().out
