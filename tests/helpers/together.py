"""What every process of `test_distributed.py` runs: library calls inside a group that the caller has made."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

import ganmetrics as gm
from ganmetrics.cli import main

SHARED: dict[str, Any] = {"features": "pixels", "batch_size": 8, "distributed": True, "cache": False}


def stream(seed: int) -> Callable[[int], torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return lambda n: torch.randint(0, 256, (n, 3, 2, 2), dtype=torch.uint8, generator=draw)


def calls(folder: Path, rank: int) -> dict[str, Callable[[], Any]]:
    """By name; each gives scores. A name with `own` has other sources in every process."""
    real, fake = folder / "real", folder / "fake"
    array = np.load(folder / "real.npy")
    everything = ["fid", "kid", "prdc"]
    return {
        "folders": lambda: gm.evaluate(real, fake, everything, confidence=True, **SHARED),
        "tar and zip": lambda: gm.evaluate(folder / "real-{0..3}.tar", folder / "fake.zip", everything, **SHARED),
        "array and memory map": lambda: gm.evaluate(array, folder / "fake.npy", everything, **SHARED),
        "folded": lambda: {"fid": gm.fid(folder / "many.npy", torch.from_numpy(array), **SHARED)},
        "fewer batches than processes": lambda: gm.evaluate(real, fake, everything, **{**SHARED, "batch_size": 100}),
        "streams": lambda: {"fid": gm.fid(stream(1), (image for image in array), **SHARED, n_samples=50)},
        "labels": lambda: gm.evaluate(folder / "classes", folder / "others", ["class-fid"], **SHARED, on_error="skip"),
        "labels of items": lambda: gm.evaluate(
            torch.utils.data.TensorDataset(torch.from_numpy(array), torch.arange(len(array)) % 3),
            ((array[i : i + 9], np.arange(i, i + 9)[: len(array) - i] % 3) for i in range(0, len(array), 9)),
            ["class-fid"],
            **SHARED,
        ),
        "own": lambda: {"fid": gm.fid(array[rank::2], fake, features="pixels", cache=False)},
        "bad in the second part": lambda: gm.evaluate(folder / "bad", fake, everything, **SHARED),
        "other sizes in the second part": lambda: gm.evaluate(folder / "sizes", fake, everything, **SHARED),
        "own, said to be shared": lambda: gm.evaluate(array[: 20 + rank], fake, everything, **SHARED),
        "not an error of the user": lambda: gm.evaluate(real, Faulty(), everything, **SHARED),
        "written to the cache": lambda: gm.evaluate(real, fake, ["fid"], **{**SHARED, "cache": True}),
        "from the cache": lambda: gm.evaluate(real, fake, ["fid"], **{**SHARED, "cache": True}),
    }


class Faulty(torch.utils.data.Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> torch.Tensor:
        if index == 50:
            raise RuntimeError("somebody's own code")
        return torch.zeros(3, 2, 2, dtype=torch.uint8)


def outcome(call: Callable[[], Any]) -> Any:
    try:
        found = call()
    except Exception as error:
        return [type(error).__name__, str(error)]
    return {name: {**json.loads(score.to_json()), "seconds": None} for name, score in found.items()}


def run(folder: Path, rank: int) -> None:
    found = {name: outcome(call) for name, call in calls(folder, rank).items()}
    (folder / f"{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    dist.init_process_group("gloo")
    run(Path(sys.argv[1]), dist.get_rank())
    sys.argv = ["ganmetrics", *sys.argv[2:]]
    os.chdir(Path(__file__).parents[2])
    main()
