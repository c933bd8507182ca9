"""A program saved with `torch.export.save` as a generator; its only input is the latent."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

from ganmetrics.errors import OptionError
from ganmetrics.features.custom import blame
from ganmetrics.generators.latents import in_full_batches
from ganmetrics.printable import printable


class ExportedGenerator:
    """Calls the program; if it was exported for a fixed batch size, in batches of that size.

    Raises OptionError for a file that cannot be read, inputs other than one latent, and a missing value range.
    """

    def __init__(self, path: Path, *, device: torch.device, value_range: tuple[float, float] | None):
        name = printable(str(path))
        if not path.is_file():
            raise OptionError(f"generator {name}: no such file")
        if value_range is None:
            raise OptionError(
                f"generator {name}: an exported program does not say the range of its images; state it with "
                "--generator-range -1 1 (tanh) or --generator-range 0 1 (sigmoid) (generator_range=)"
            )
        program = self._load(path, name)
        if device.type != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        inputs = {str(key) for key in program.graph_signature.user_inputs}
        shapes = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
        if len(shapes) != 1 or not isinstance(shapes[0], Tensor) or shapes[0].ndim < 2:
            raise OptionError(
                f"generator {name}: expected a program of one input, latents (N, ...), got {len(inputs)}; "
                "export the generator alone, with its labels fixed"
            )
        batch, *rest = shapes[0].shape
        self.batch = batch if isinstance(batch, int) else None
        self.latent_shape, self.value_range = tuple(int(size) for size in rest), value_range
        self.dtype, self.device, self.module = shapes[0].dtype, device, program.module()

    @staticmethod
    def _load(path: Path, name: str) -> torch.export.ExportedProgram:
        torch_log = logging.getLogger("torch.export")  # it would print a traceback for a wrong file
        level = torch_log.level
        torch_log.setLevel(logging.CRITICAL)
        try:
            return torch.export.load(path)
        except Exception as error:
            reason = blame(error).split("\n")[0][:160]
            raise OptionError(
                f"generator {name}: cannot be read as a program of torch.export.save: {reason}"
            ) from error
        finally:
            torch_log.setLevel(level)

    def __call__(self, z: Tensor) -> Tensor:
        z = z.to(self.dtype)
        if self.batch is None:
            return self.module(z)
        return in_full_batches(self.module, z, self.batch)
