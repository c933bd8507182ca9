"""Convolution, bias and ReLU as one call of oneDNN, with weights in oneDNN's own ("packed") layout.

PyTorch passes plain weights to oneDNN, which reorders them at every call. For the small batches that stay in a
processor's cache this takes much of the time. The operators here are those that `torch.compile` uses instead
(torch/_inductor/mkldnn_ir.py), without compiling. They are not public: if this torch lacks them, or their results
differ from the plain operators', the network stays plain, or becomes plain again. Their ReLU turns NaN into 0, which
would hide an overflow, so a network whose activations come near the limit of its dtype stays plain too.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmetrics.runtime.private_operators import FAILURES, PrivateOperator, some_of

CHECKED = 2**19  # numbers of one result that are compared with the plain operator's
LARGEST = 1e-6  # of a dtype's maximum; a network with larger activations stays plain (in float16 always)
EDGES = (  # channels in and out, kernel, stride, padding, input: odd, about a processor's vector width, single pixels
    (16, 24, (3, 5), 2, (1, 0), (3, 17, 19)),
    (3, 32, (3, 3), 2, (0, 0), (2, 15, 16)),
    (15, 17, (1, 1), 1, (0, 0), (1, 7, 5)),
    (17, 33, (1, 7), 1, (0, 3), (4, 9, 8)),
    (33, 15, (3, 1), 1, (1, 0), (3, 1, 8)),
    (65, 63, (3, 3), 1, (1, 1), (1, 3, 3)),
    (31, 16, (1, 1), 1, (0, 0), (5, 1, 1)),
)


class PackedConv2d(nn.Module):
    """A convolution, with or without a ReLU, packed for one input shape; other shapes work too, but slower."""

    def __init__(self, conv: nn.Conv2d, input_shape: tuple[int, ...], *, relu: bool):
        super().__init__()
        self.relu = relu
        self.after: tuple[str, list[float], str] = ("relu" if relu else "none", [], "")
        self.geometry: Any = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self.weight = self._reordered(conv.weight.detach(), input_shape)
        self.bias = None if conv.bias is None else conv.bias.detach()

    def _reordered(self, weight: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """Packed weights; the plain ones if unpacking does not give them back exactly."""
        try:
            packed = torch.ops.aten.mkldnn_reorder_conv2d_weight(weight.to_mkldnn(), *self.geometry, list(input_shape))
            return packed if torch.equal(packed.to_dense(), weight) else weight
        except FAILURES:
            return weight

    def forward(self, x: Tensor) -> Tensor:
        operator = packed_convolution(x.dtype)
        if not operator.available():
            self.weight = _plain(self.weight)
        return operator((self, x))


Convolution = tuple[PackedConv2d, Tensor]


class _PackedConvolution(PrivateOperator[Convolution]):
    """`F.conv2d` and `F.relu` of one dtype."""

    checks = 1000  # enough for about a hundred layers and several batch sizes

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def private(self, work: Convolution) -> Tensor:
        layer, x = work
        return torch.ops.mkldnn._convolution_pointwise(x, layer.weight, layer.bias, *layer.geometry, *layer.after)

    def plain(self, work: Convolution) -> Tensor:
        layer, x = work
        return _convolved(layer, _plain(layer.weight), x)

    def pays(self, work: Convolution) -> bool:
        layer, x = work
        return x.numel() > 0 and layer.weight.is_mkldnn

    def shape(self, work: Convolution) -> Hashable:
        layer, x = work
        return x.shape, layer.weight.shape, layer.geometry, layer.relu, layer.bias is None

    def part(self, work: Convolution, result: Tensor) -> tuple[Convolution, Tensor]:
        """The last image of a batch."""
        layer, x = work
        return (layer, x[-1:]), result[-1:]

    def agrees(self, work: Convolution, result: Tensor) -> bool:
        """Within rounding errors, relative to the norms of the factors. NaN never agrees.

        Of a large result only some output channels are compared, CHECKED numbers, to keep the peak memory low.
        """
        layer, x = work
        padding, stride, dilation, groups = layer.geometry
        n_out = layer.weight.shape[0]
        most = max(1, CHECKED // max(1, result[:, 0].numel()))
        channels = some_of(n_out, most) if groups == 1 else torch.arange(n_out)  # a group needs its channels in order
        weight, x = _plain(layer.weight)[channels].float(), x.float()
        bias = None if layer.bias is None else layer.bias[channels].float()
        expected = F.conv2d(x, weight, bias, stride, padding, dilation, groups)
        expected = F.relu(expected, inplace=True) if layer.relu else expected
        if (len(result), result.shape[1], *result.shape[2:]) != (len(x), n_out, *expected.shape[2:]):
            return False
        if result.dtype != self.dtype:
            return False
        # `sizes`: norm of the input under the window times norm of the kernel, for every output
        window = torch.ones(1, 1, *weight.shape[2:], dtype=torch.float32)
        squares = F.conv2d(x.square().sum(dim=1, keepdim=True), window, None, stride, padding, dilation)
        sizes = squares.clamp_(min=0).sqrt_() * weight.flatten(1).norm(dim=1).view(1, -1, 1, 1)
        if bias is not None:
            sizes += bias.abs().view(1, -1, 1, 1)
        roundings = 4 * weight[0].numel() ** 0.5 * torch.finfo(torch.float32).eps + 8 * torch.finfo(self.dtype).eps
        return bool(((result[:, channels] - expected).float().abs_() <= roundings * sizes).all())

    def trials(self) -> Iterator[Convolution]:
        # All drawn before the first yield, because the generator may be suspended and the caller's state must be back.
        drawn: list[tuple[nn.Conv2d, Tensor]] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for i, (n_in, n_out, kernel, stride, padding, (n, *edges)) in enumerate(EDGES):
                conv = nn.Conv2d(n_in, n_out, kernel, stride, padding, bias=i % 2 == 0, dtype=self.dtype)
                drawn.append((conv, torch.randn(n, n_in, *edges, dtype=torch.float32).to(self.dtype)))
        for i, (conv, x) in enumerate(drawn):
            conv.to(memory_format=torch.channels_last)
            layer = PackedConv2d(conv, tuple(x.shape), relu=i % 3 != 1)
            if not layer.weight.is_mkldnn:
                raise RuntimeError("expected packed weights, got plain ones")
            yield layer, x.contiguous(memory_format=torch.channels_last)
            if not i:
                yield layer, x[-1:]
                yield layer, x.transpose(2, 3).contiguous().transpose(2, 3)


@cache
def packed_convolution(dtype: torch.dtype) -> PrivateOperator[Convolution]:
    """The operator for a dtype, one for each process."""
    return _PackedConvolution(dtype)


def available(dtype: torch.dtype) -> bool:
    """Whether convolutions of a dtype should be packed on this processor with this torch."""
    return packed_convolution(dtype).available()


def packed(network: nn.Module, kind: type[nn.Module], example: Tensor, batch_size: int) -> nn.Module:
    """The network with its convolutions packed for batches of `batch_size`, or unchanged (see LARGEST).

    kind: class of the modules that are ReLU(conv(x)), which are replaced as a whole. Subclasses may do more, so only
        their convolution is replaced.
    example: one input `(1, C, H, W)` that reaches every convolution.
    """
    shapes: dict[nn.Module, tuple[int, ...]] = {}
    fits: list[bool] = []

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        shapes[module] = (batch_size, *inputs[0].shape[1:])
        fits.append(bool(output.abs().max() <= LARGEST * torch.finfo(output.dtype).max))  # False for NaN

    convolutions = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    hooks = [module.register_forward_hook(record) for module in convolutions.values()]
    with torch.no_grad():
        network(example)
    for hook in hooks:
        hook.remove()
    if not all(fits):
        return network
    for name, conv in convolutions.items():
        holder = name.rpartition(".")[0]
        relu = type(network.get_submodule(holder)) is kind
        parent, _, attribute = (holder if relu else name).rpartition(".")
        setattr(network.get_submodule(parent), attribute, PackedConv2d(conv, shapes.pop(conv), relu=relu))
    return network


def _convolved(layer: PackedConv2d, weight: Tensor, x: Tensor) -> Tensor:
    padding, stride, dilation, groups = layer.geometry
    result = F.conv2d(x, weight, layer.bias, stride, padding, dilation, groups)
    return F.relu(result, inplace=True) if layer.relu else result


def _plain(weight: Tensor) -> Tensor:
    """Packed or plain weights as plain ones."""
    return weight.to_dense().contiguous(memory_format=torch.channels_last) if weight.is_mkldnn else weight
