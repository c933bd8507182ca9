"""Convolution, bias and ReLU as one call of oneDNN, with weights that lie as it wants them.

PyTorch hands oneDNN plain weights and has them reordered at every call, which for the small batches that stay in a
processor's cache is a good part of the work. The operators here are those that `torch.compile` puts in their place
(torch/_inductor/mkldnn_ir.py), without its compiling. They are no public interface: where this torch lacks them, or
they do not give what the plain operators give, the network stays as it is. Their ReLU makes 0 of NaN, which would hide
that a network overflows: one whose activations are not far below what its dtype holds stays as it is too.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmetrics.runtime.arithmetic import exact_arithmetic

LARGEST = 1e-6  # of what a dtype holds: activations of a trial above it leave a network unpacked (float16 always)


class PackedConv2d(nn.Module):
    """A convolution, with or without a ReLU, for inputs like the one it is made for; others work too, more slowly."""

    def __init__(self, conv: nn.Conv2d, input_shape: tuple[int, ...], *, relu: bool):
        super().__init__()
        self.after: tuple[str, list[float], str] = ("relu" if relu else "none", [], "")
        self.geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
        weight = conv.weight.detach().to_mkldnn()
        self.weight = torch.ops.aten.mkldnn_reorder_conv2d_weight(weight, *self.geometry, list(input_shape))
        self.bias = None if conv.bias is None else conv.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise(x, self.weight, self.bias, *self.geometry, *self.after)


@cache
def available(dtype: torch.dtype) -> bool:
    """Whether this torch on this processor has the operators and they are right, tried once on a small case."""
    if not torch.backends.mkldnn.is_available():
        return False
    with torch.random.fork_rng(devices=[]), exact_arithmetic(torch.device("cpu")):  # whatever is set around us now
        torch.manual_seed(0)
        conv = nn.Conv2d(16, 24, (3, 5), stride=2, padding=(1, 0), dtype=dtype).to(memory_format=torch.channels_last)
        x = torch.randn(3, 16, 17, 19, dtype=torch.float32).to(dtype, memory_format=torch.channels_last)
        expected = F.relu(conv(x)).double()
        try:
            found = PackedConv2d(conv, tuple(x.shape), relu=True)(x).double()
        except (RuntimeError, AttributeError, TypeError, NotImplementedError):
            return False
    tolerance = 8 * torch.finfo(dtype).eps * float(expected.abs().max())
    return found.shape == expected.shape and float((found - expected).abs().max()) <= tolerance


def packed(network: nn.Module, kind: type[nn.Module], example: Tensor, batch_size: int) -> nn.Module:
    """The network with its convolutions packed for batches of such a size, or as it is (see LARGEST).

    kind: of a module that is ReLU(conv(x)) and is replaced as a whole; a subclass of it is not.
    example: one input `(1, C, H, W)` that reaches every convolution.
    """
    shapes: dict[nn.Module, tuple[int, ...]] = {}
    fits: list[bool] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        shapes[module] = (batch_size, *inputs[0].shape[1:])
        fits.append(bool(output.abs().max() <= LARGEST * torch.finfo(output.dtype).max))  # NaN does not

    found = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    hooks = [module.register_forward_hook(note) for module in found.values()]
    with torch.no_grad():
        network(example)
    for hook in hooks:
        hook.remove()
    if not all(fits):
        return network
    for name, conv in found.items():
        holder = name.rpartition(".")[0]
        relu = type(network.get_submodule(holder)) is kind
        parent, _, own = (holder if relu else name).rpartition(".")
        setattr(network.get_submodule(parent), own, PackedConv2d(conv, shapes.pop(conv), relu=relu))
    return network
