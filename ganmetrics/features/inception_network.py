"""The FID InceptionV3: the TensorFlow graph of 2015-12-05 that FID and the Inception Score are defined over.

Szegedy et al. 2016 (arXiv:1512.00567); Heusel et al. 2017 (arXiv:1706.08500); Salimans et al. 2016 (arXiv:1606.03498).
It differs from torchvision's `inception_v3`: 1008 classes, no auxiliary head, average pools that do not count the
padding, a max pool in Mixed_7c. Modules have the names in `pt_inception-2015-12-05-6726825d.pth`, so that file loads
unchanged. Taps: "64", "192", "768" (globally average-pooled), "2048" (the FID features), two kinds of logits (the
Inception Score has always been computed on `pool @ fc.weight.T` without the bias: "logits-unbiased"), and "spatial"
for sFID (Nash et al. 2021, arXiv:2103.03841): seven channels of TensorFlow's `mixed_6/conv`, not pooled.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

SPATIAL_CHANNELS = 7
TAPS = {
    "64": 64, "192": 192, "spatial": SPATIAL_CHANNELS * 17 * 17, "768": 768, "2048": 2048,
    "logits-unbiased": 1008, "logits": 1008,
}  # fmt: skip
SIZE = 299


class BasicConv2d(nn.Module):
    """Convolution without bias, batch norm (eps 1e-3), ReLU."""

    def __init__(self, n_in: int, n_out: int, kernel: tuple[int, int], stride: int, padding: tuple[int, int]):
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, padding, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(n_out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


average_pool = partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
max_pool_same = partial(F.max_pool2d, kernel_size=3, stride=1, padding=1)
max_pool_half = partial(F.max_pool2d, kernel_size=3, stride=2)


class PooledConv2d(BasicConv2d):
    """An average pool, then a 1x1 convolution, batch norm and ReLU.

    The pool runs after convolution and batch norm, where there are fewer channels. The result is the same: both are
    affine, and the weights of the pool sum to one, because it does not count the padding.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(average_pool(self.bn(self.conv(x))), inplace=True)


class Conv(NamedTuple):
    """One convolution in a block's table; stride 1 keeps the size, stride 2 has no padding."""

    name: str
    channels: int
    height: int = 1
    width: int | None = None
    stride: int = 1
    kind: type[BasicConv2d] = BasicConv2d

    def build(self, n_in: int) -> BasicConv2d:
        kernel = (self.height, self.height if self.width is None else self.width)
        padding = (kernel[0] // 2, kernel[1] // 2) if self.stride == 1 else (0, 0)
        return self.kind(n_in, self.channels, kernel, self.stride, padding)


def pooled(channels: int) -> Conv:
    return Conv("branch_pool", channels, kind=PooledConv2d)


class Fork(NamedTuple):
    """Two convolutions side by side on the same input, concatenated."""

    left: Conv
    right: Conv


Step = Conv | Fork | partial


class Mixed(nn.Module):
    """An inception block: branches in parallel, their outputs concatenated in the order of the table."""

    def __init__(self, n_in: int, branches: list[list[Step]]):
        super().__init__()
        self.branches = branches
        self.n_out = sum(self._build(n_in, branch) for branch in branches)

    def _build(self, n_in: int, branch: list[Step]) -> int:
        for step in branch:
            convolutions = [step] if isinstance(step, Conv) else step if isinstance(step, Fork) else []
            for conv in convolutions:
                self.add_module(conv.name, conv.build(n_in))
            n_in = sum(conv.channels for conv in convolutions) or n_in
        return n_in

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._run(x, branch) for branch in self.branches], dim=1)

    def _run(self, x: Tensor, branch: list[Step]) -> Tensor:
        for step in branch:
            if isinstance(step, Conv):
                x = getattr(self, step.name)(x)
            elif isinstance(step, Fork):
                x = torch.cat([getattr(self, conv.name)(x) for conv in step], dim=1)
            else:
                x = step(x)
        return x


def _block_a(pool_channels: int) -> list[list[Step]]:
    return [
        [Conv("branch1x1", 64)],
        [Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, 5)],
        [Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, 3), Conv("branch3x3dbl_3", 96, 3)],
        [pooled(pool_channels)],
    ]


def _block_b() -> list[list[Step]]:
    return [
        [Conv("branch3x3", 384, 3, stride=2)],
        [Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, 3), Conv("branch3x3dbl_3", 96, 3, stride=2)],
        [max_pool_half],
    ]


def _block_c(inner: int) -> list[list[Step]]:
    shapes = ((1, 1), (7, 1), (1, 7), (7, 1))
    double = [Conv(f"branch7x7dbl_{i}", inner, *shape) for i, shape in enumerate(shapes, 1)]
    return [
        [Conv("branch1x1", 192)],
        [Conv("branch7x7_1", inner), Conv("branch7x7_2", inner, 1, 7), Conv("branch7x7_3", 192, 7, 1)],
        [*double, Conv("branch7x7dbl_5", 192, 1, 7)],
        [pooled(192)],
    ]


def _block_d() -> list[list[Step]]:
    return [
        [Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, 3, stride=2)],
        [
            Conv("branch7x7x3_1", 192),
            Conv("branch7x7x3_2", 192, 1, 7),
            Conv("branch7x7x3_3", 192, 7, 1),
            Conv("branch7x7x3_4", 192, 3, stride=2),
        ],
        [max_pool_half],
    ]


def _block_e(pool: list[Step]) -> list[list[Step]]:
    return [
        [Conv("branch1x1", 320)],
        [Conv("branch3x3_1", 384), Fork(Conv("branch3x3_2a", 384, 1, 3), Conv("branch3x3_2b", 384, 3, 1))],
        [
            Conv("branch3x3dbl_1", 448),
            Conv("branch3x3dbl_2", 384, 3),
            Fork(Conv("branch3x3dbl_3a", 384, 1, 3), Conv("branch3x3dbl_3b", 384, 3, 1)),
        ],
        pool,
    ]


# Each tap with the steps from the tap before to it.
SEGMENTS: dict[str, tuple[str | partial, ...]] = {
    "64": ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", max_pool_half),
    "192": ("Conv2d_3b_1x1", "Conv2d_4a_3x3", max_pool_half),
    "spatial": tuple(f"Mixed_{name}" for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d")),
    "768": ("Mixed_6e",),
    "2048": ("Mixed_7a", "Mixed_7b", "Mixed_7c"),
}


def _spatial(x: Tensor) -> Tensor:
    """The first channels of Mixed_6d, from its single 1x1 convolution, in TensorFlow's order: `(N, 17 * 17 * 7)`."""
    return x[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1)


class InceptionV3(nn.Module):
    """`forward(x, taps)`: x `(N, 3, 299, 299)`, scaled to about [-1, 1] -> {tap: `(N, TAPS[tap])`}.

    Runs only as deep as the taps need. It comes without weights: load a state dict with the official names.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, (3, 3), 2, (0, 0))
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, (3, 3), 1, (0, 0))
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, (3, 3), 1, (1, 1))
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, (1, 1), 1, (0, 0))
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, (3, 3), 1, (0, 0))
        tables = {
            "Mixed_5b": _block_a(32),
            "Mixed_5c": _block_a(64),
            "Mixed_5d": _block_a(64),
            "Mixed_6a": _block_b(),
            "Mixed_6b": _block_c(128),
            "Mixed_6c": _block_c(160),
            "Mixed_6d": _block_c(160),
            "Mixed_6e": _block_c(192),
            "Mixed_7a": _block_d(),
            "Mixed_7b": _block_e([pooled(192)]),
            "Mixed_7c": _block_e([max_pool_same, Conv("branch_pool", 192)]),
        }
        channels = 192
        for name, table in tables.items():
            block = Mixed(channels, table)
            self.add_module(name, block)
            channels = block.n_out
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor, taps: Collection[str] = ("2048",)) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        deepest = max(list(TAPS).index(tap) for tap in taps)
        for depth, (tap, steps) in enumerate(SEGMENTS.items()):
            if depth > deepest:
                return out
            for step in steps:
                x = getattr(self, step)(x) if isinstance(step, str) else step(x)
            if tap in taps or tap == "2048":
                out[tap] = _spatial(x) if tap == "spatial" else x.mean(dim=(2, 3))
        pooled = out["2048"] if "2048" in taps else out.pop("2048")
        if "logits-unbiased" in taps:
            out["logits-unbiased"] = pooled @ self.fc.weight.T
        if "logits" in taps:
            out["logits"] = self.fc(pooled)
        return out

    def fold_batch_norm(self, dtype: torch.dtype) -> InceptionV3:
        """Merge every batch norm into its convolution, computed in float64; all weights have the dtype afterwards.

        Layer by layer, so that there is never a second network in memory, and with copies of all weights, so that a
        memory-mapped file is not needed afterwards.
        """
        self.eval()
        for module in self.modules():
            if isinstance(module, BasicConv2d) and isinstance(module.bn, nn.BatchNorm2d):
                folded = fuse_conv_bn_eval(module.conv.double(), module.bn.double())
                module.conv, module.bn = folded.to(dtype), nn.Identity()
        self.fc.weight, self.fc.bias = (
            nn.Parameter(parameter.detach().to(dtype, copy=True)) for parameter in (self.fc.weight, self.fc.bias)
        )
        return self
