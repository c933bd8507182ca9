"""An extractor that takes its time and says in which process it runs, for tests that kill it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from torch import Tensor


def extractor(images: Tensor) -> Tensor:
    Path(os.environ["SLOWLY"], f"rank{os.environ['RANK']}").write_text(str(os.getpid()))
    time.sleep(0.2)
    return images.flatten(1).float()
