"""`--features inception`: the FID InceptionV3 with its weights, and how each resize rule's tool scales its input."""

from __future__ import annotations

import torch
from torch import nn

from ganmetrics.errors import OptionError
from ganmetrics.features import packing, weights
from ganmetrics.features.extractor import CPU_BATCH, NetworkExtractor, Options, load_weights, place
from ganmetrics.features.inception_network import SIZE, TAPS, BasicConv2d, InceptionV3
from ganmetrics.printable import brief
from ganmetrics.runtime.memory import trim

INPUT_SCALING = {  # [0, 255] to the network's input: (x - shift) / scale
    "tf1-bilinear": (128.0, 128.0),
    "bilinear": (127.5, 127.5),
    "bilinear-antialias": (128.0, 128.0),
    "pil-bicubic": (128.0, 128.0),
}
UNOFFICIAL = (
    "weights {sha} are not the official Inception file (6726825d): values compare only with others on the same weights"
)


def build(argument: str, options: Options) -> NetworkExtractor:
    """`inception[:TAP]` with the official weights, or a file named by the user (a warning if its checksum differs)."""
    if argument and argument not in TAPS:
        raise OptionError(f"--features inception:{argument}: expected one of {', '.join(TAPS)} after the colon")
    resize = options.resize or "tf1-bilinear"
    if resize not in INPUT_SCALING:
        raise OptionError(f"--resize: expected one of {', '.join(INPUT_SCALING)}, got {brief(resize)}")
    weights_file = weights.find_weights(weights.INCEPTION, options.weights, progress=options.progress)
    with torch.device("meta"):  # skips the slow initialisation, which would draw random numbers
        network = InceptionV3()
    expected = "the FID Inception of 2015-12-05 (1008 classes, no auxiliary head)"
    load_weights(network, weights.load_state_dict(weights_file.path), str(weights_file.path), expected)
    shift, scale = INPUT_SCALING[resize]
    is_logits, is_spatial = argument.startswith("logits"), argument == "spatial"
    return NetworkExtractor(
        "inception",
        _ready(network, options),
        taps=tuple(TAPS),
        features_tap=(argument or "2048") if not (is_logits or is_spatial) else None,
        logits_tap=(argument or "logits-unbiased") if is_logits or not argument else None,
        spatial_tap="spatial" if is_spatial or not argument else None,
        default_taps=("2048", "logits-unbiased", "spatial"),
        size=SIZE,
        resize=resize,
        mean=[shift],
        std=[scale],
        weights_sha256=weights_file.sha256,
        options=options,
        warnings=() if weights_file.official else (UNOFFICIAL.format(sha=weights_file.sha256[:8]),),
    )


def _ready(network: InceptionV3, options: Options) -> nn.Module:
    """The network with folded batch norms; on a CPU, also with convolutions packed for the batch size used there."""
    placed = place(network.fold_batch_norm(options.dtype), options)
    if options.device.type != "cpu" or not packing.available(options.dtype):
        return placed
    noise = torch.rand(1, 3, SIZE, SIZE, dtype=torch.float32, generator=torch.Generator().manual_seed(0))
    example = (2 * noise - 1).to(options.dtype, memory_format=torch.channels_last)
    packed = packing.packed(placed, BasicConv2d, example, CPU_BATCH)
    trim()  # the plain weights, tens of MB, are no longer used
    return packed
