"""Other FID tools, each through its own public Python API, on two folders and one Inception file.

pytorch-fid 0.3, torch-fidelity 0.4, clean-fid 0.1.35 and torchmetrics 1.9 all compute FID, but with different results
(resize rule, scaling, precision). Their arithmetic is not changed: only the weights are replaced, and
`scipy.linalg.sqrtm` gets back the argument that SciPy 1.18 removed. Defaults are each tool's own, float32.

pytorch-fid reads only files with lower-case extensions in the folder itself; the other tools also read subfolders. All
but clean-fid stack images before resizing, so all images of a folder must have the same size.

    python -m benchmarks.peers.tools TOOL REAL FAKE WEIGHTS [WORKERS [DEVICE]]        prints {"value": ...}

A device other than the CPU works only for pytorch-fid and torch-fidelity.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from unittest import mock

import torch
from torch import Tensor

Folder: TypeAlias = str | os.PathLike[str]
EXTENSIONS = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def pytorch_fid_value(
    real: Folder,
    fake: Folder,
    weights: Folder,
    *,
    batch_size: int = 50,
    workers: int = 0,
    dims: int = 2048,
    device: str = "cpu",
) -> float:
    """FID as `python -m pytorch_fid REAL FAKE` prints it; `dims` 64, 192 or 768 for the lower taps."""
    from pytorch_fid import fid_score

    with _pytorch_fid_weights(weights), sqrtm_with_disp():
        paths = [os.fspath(real), os.fspath(fake)]
        return float(fid_score.calculate_fid_given_paths(paths, batch_size, device, dims, workers))


def torch_fidelity_metrics(
    real: Folder | None,
    fake: Folder,
    weights: Folder,
    *,
    batch_size: int = 64,
    workers: int = 0,
    float64: bool = False,
    device: str = "cpu",
    **metrics: Any,
) -> dict[str, float]:
    """`torch_fidelity.calculate_metrics` with `fid=True`, `isc=True`, ...; the fakes are its first input.

    float64: what `feature_extractor_internal_dtype="float64"` should do. In 0.4.0 the table in `helpers.text_to_dtype`
        maps that name to torch.float32, so the option has no effect.
    """
    import torch_fidelity
    from torch_fidelity import feature_extractor_inceptionv3 as extractor

    dtype = torch.float64 if float64 else torch.float32
    with mock.patch.object(extractor, "text_to_dtype", return_value=dtype):
        return torch_fidelity.calculate_metrics(
            input1=os.fspath(fake),
            input2=None if real is None else os.fspath(real),
            feature_extractor_weights_path=os.fspath(weights),
            batch_size=batch_size,
            save_cpu_ram=workers == 0,  # its only way to load without worker processes
            samples_find_deep=True,
            cuda=device != "cpu",
            cache=False,
            verbose=False,
            **metrics,
        )


def torch_fidelity_value(real: Folder, fake: Folder, weights: Folder, **options: Any) -> float:
    """FID as `fidelity --fid` gives it; options as in `torch_fidelity_metrics`."""
    return torch_fidelity_metrics(real, fake, weights, fid=True, **options)["frechet_inception_distance"]


def torch_fidelity_inception_score(
    fake: Folder, weights: Folder, *, splits: int = 10, **options: Any
) -> tuple[float, float]:
    """Inception Score and its spread over splits, as `fidelity --isc` gives them (shuffled with seed 2020)."""
    out = torch_fidelity_metrics(None, fake, weights, isc=True, isc_splits=splits, **options)
    return out["inception_score_mean"], out["inception_score_std"]


def clean_fid_value(
    real: Folder, fake: Folder, weights: Folder, *, batch_size: int = 32, workers: int = 0, mode: str = "clean"
) -> float:
    """FID of `cleanfid.fid.compute_fid`; its TorchScript network is replaced by the same network with `weights`."""
    from cleanfid import fid

    with sqrtm_with_disp():
        value = fid.compute_fid(
            os.fspath(real),
            os.fspath(fake),
            mode=mode,
            custom_feat_extractor=_inception_on_0_255(weights),
            batch_size=batch_size,
            num_workers=workers,
            device=torch.device("cpu"),
            verbose=False,
        )
    return float(value)


def torchmetrics_value(
    real: Folder, fake: Folder, weights: Folder, *, batch_size: int = 32, workers: int = 0, float64: bool = False
) -> float:
    """FID of `torchmetrics.image.fid`, used as in its documentation; `float64` is the mode that it recommends.

    `workers` is ignored, it only makes the signature the same as for the other tools: images load in this process.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature_extractor_weights_path=os.fspath(weights))
    if float64:
        metric.set_dtype(torch.float64)
    for folder, is_real in ((real, True), (fake, False)):
        for batch in batches(folder, batch_size):
            metric.update(batch, real=is_real)
    return float(metric.compute())


def torchmetrics_inception_score(
    fake: Folder, weights: Folder, *, splits: int = 10, batch_size: int = 32, seed: int = 0
) -> tuple[float, float]:
    """Inception Score and spread of `torchmetrics.image.inception`; `seed` fixes its random permutation."""
    from torchmetrics.image.fid import NoTrainInceptionV3
    from torchmetrics.image.inception import InceptionScore

    network = NoTrainInceptionV3("inception-v3-compat", ["logits_unbiased"], os.fspath(weights))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # it warns that it keeps all features
        metric = InceptionScore(network, splits=splits)
        for batch in batches(fake, batch_size):
            metric.update(batch)
        torch.manual_seed(seed)
        mean, spread = metric.compute()
    return float(mean), float(spread)


PEERS: dict[str, Callable[..., float]] = {
    "pytorch-fid": pytorch_fid_value,
    "torch-fidelity": torch_fidelity_value,
    "clean-fid": clean_fid_value,
    "torchmetrics": torchmetrics_value,
    "torchmetrics-float64": partial(torchmetrics_value, float64=True),
}
"""FID of each tool: `(real, fake, weights, *, batch_size=..., workers=0) -> float`; default: the tool's batch size."""


def batches(folder: Folder, batch_size: int) -> Iterator[Tensor]:
    """Batches uint8 `(N, 3, H, W)` of a folder and its subfolders, sorted: what a torchmetrics user would write."""
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor

    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in EXTENSIONS)
    for start in range(0, len(paths), batch_size):
        yield torch.stack([pil_to_tensor(Image.open(p).convert("RGB")) for p in paths[start : start + batch_size]])


@contextmanager
def sqrtm_with_disp() -> Iterator[None]:
    """`scipy.linalg.sqrtm(..., disp=False)` returns a pair again, as before SciPy 1.18 (scipy PR#24334)."""
    import scipy.linalg

    original = scipy.linalg.sqrtm

    def sqrtm(matrix: Any, disp: bool = True, blocksize: int = 64) -> Any:
        root = original(matrix)
        return root if disp else (root, float("nan"))  # the tools ignore the second value, an error estimate

    has_disp = "disp" in inspect.signature(original).parameters
    with warnings.catch_warnings(), mock.patch.object(scipy.linalg, "sqrtm", original if has_disp else sqrtm):
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@contextmanager
def _pytorch_fid_weights(weights: Folder) -> Iterator[None]:
    """Let pytorch-fid's download function return `weights`, because it has no option for a file."""
    from pytorch_fid import inception

    def load(*args: Any, **kwargs: Any) -> dict[str, Tensor]:
        return torch.load(weights, map_location="cpu", weights_only=True)

    with mock.patch.object(inception, "load_state_dict_from_url", load):
        yield


def _inception_on_0_255(weights: Folder) -> Callable[[Tensor], Tensor]:
    """The same as clean-fid's TorchScript file: images of 299 px, floats in 0..255 -> pool features `(N, 2048)`."""
    from pytorch_fid.inception import InceptionV3

    with _pytorch_fid_weights(weights):
        network = InceptionV3(resize_input=False, normalize_input=False).eval()
    return lambda x: network((x - 128) / 128)[0].flatten(1)


def own_workers(tool: str) -> int:
    """Number of loading processes that the tool starts by default."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"pytorch-fid": min(cores, 8), "torch-fidelity": min(4, 2 * cores), "clean-fid": 12}.get(tool, 0)


def main(arguments: list[str]) -> None:
    """Print one value as JSON on stdout; the tool's own output goes to stderr."""
    tool, real, fake, weights, *rest = arguments
    workers = own_workers(tool) if rest[:1] in ([], ["None"]) else int(rest[0])
    device = {"device": rest[1]} if rest[1:] and rest[1] != "cpu" else {}
    with redirect_stdout(sys.stderr):
        value = PEERS[tool](real, fake, weights, workers=workers, **device)
    print(json.dumps({"value": value}))


if __name__ == "__main__":
    main(sys.argv[1:])
