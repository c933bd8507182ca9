"""Plain JPEG files by torchvision: libjpeg-turbo on the CPU, nvJPEG on a CUDA device, where the pixels then stay.

Only files that all decoders read alike up to rounding are plain: complete baseline files, grey or YCbCr, upright.
Pillow reads all others, with its notes and errors. nvJPEG rounds and interpolates colour differently, so pixels
differ from Pillow's by a few of 255.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganmetrics.errors import OptionError
from ganmetrics.runtime.device import numbered

START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # ITU-T T.81, table B.1
BASELINE, END_OF_IMAGE = 0xC0, b"\xff\xd9"
MEAN_OFF, MOST_OFF = 2.0, 24  # largest mean and maximum difference from Pillow, of 255, on a smooth picture


class JpegDecoder:
    """Decodes on the device if it is a CUDA device, else on the CPU.

    Attributes: name, for a score's protocol; warning, a full sentence for the score.

    Raises OptionError if torchvision cannot decode there, or gives another picture than Pillow.
    """

    def __init__(self, device: torch.device):
        self._device = numbered(device) if device.type == "cuda" else torch.device("cpu")
        self.name = f"torchvision-{self._device.type}"
        self.warning = (
            f"plain JPEG files, if any, were decoded by {self.name}: pixels, and with them the value, can differ "
            "slightly from Pillow's, which the other tools use"
        )
        if self._device.type == "cuda":
            self._stream = torch.cuda.Stream(self._device)
            self.read_here()
        warnings.filterwarnings("ignore", "The image decoding and encoding capabilities", DeprecationWarning)
        for mode in ("RGB", "L"):
            self._require_correct(mode)

    def read_here(self) -> None:
        """State that the stream that is current now will use the decoded images."""
        if self._device.type == "cuda":
            self._reader = torch.cuda.current_stream(self._device)

    def pixels(self, file: bytes, image: Image.Image) -> Tensor | None:
        """Uint8 `(C, H, W)` of a file that PIL has opened but not yet decoded; None leaves it to Pillow."""
        if not is_plain(file, image):
            return None
        try:
            pixels = self._decoded(file, image.mode)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # Pillow may be able to read it, or says what is wrong
            return None
        fits = pixels.dtype == torch.uint8 and tuple(pixels.shape) == (len(image.getbands()), image.height, image.width)
        return pixels if fits else None

    def _decoded(self, file: bytes, mode: str) -> Tensor:
        from torchvision.io import ImageReadMode, decode_jpeg

        data = torch.frombuffer(bytearray(file), dtype=torch.uint8)  # a copy: torch warns about read-only memory
        as_read = ImageReadMode.GRAY if mode == "L" else ImageReadMode.RGB
        if self._device.type == "cpu":
            return decode_jpeg(data, as_read)
        with torch.cuda.stream(self._stream):  # its own: no queued work still reads its freed memory
            decoded = decode_jpeg(data, as_read, device=self._device)
        self._stream.synchronize()
        decoded.record_stream(self._reader)  # its memory is not reused before that stream is done with it
        return decoded

    def _require_correct(self, mode: str) -> None:
        height, width = np.mgrid[0:48, 0:64] * 3
        picture = np.stack((height, width, 255 - width), axis=-1).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(picture).convert(mode).save(file, "JPEG", quality=95, subsampling=0)
        with Image.open(io.BytesIO(file.getvalue())) as image:
            expected = torch.from_numpy(np.array(image)).reshape(48, 64, -1).permute(2, 0, 1).float()
        try:
            decoded = self._decoded(file.getvalue(), mode).cpu().float()
        except (ImportError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise OptionError(
                f"--jpeg-decoder torchvision: this torchvision cannot decode on {self._device} ({reason}); leave it out"
            ) from error
        off = (decoded - expected).abs() if decoded.shape == expected.shape else torch.tensor(torch.inf)
        if float(off.mean()) > MEAN_OFF or float(off.max()) > MOST_OFF:
            raise OptionError(
                f"--jpeg-decoder torchvision: on {self._device} it gives another picture than Pillow (off by up to "
                f"{float(off.max()):.0f} of 255); leave it out"
            )


def is_plain(file: bytes, image: Image.Image) -> bool:
    """Whether decoders differ only by rounding: complete, baseline, grey or YCbCr. Does not check the orientation."""
    info = image.info
    return (
        image.format == "JPEG"
        and (image.mode == "L" or (image.mode == "RGB" and ("jfif" in info or "adobe" in info)))
        and info.get("adobe_transform", 1) == 1  # YCbCr
        and file.endswith(END_OF_IMAGE)
        and is_baseline(file)
    )


def is_baseline(file: bytes) -> bool:
    """Whether the first frame of a JPEG file is baseline: not progressive, not arithmetic, not of 12 bits."""
    position = 2
    while position + 4 <= len(file) and file[position] == 0xFF:
        if file[position + 1] in START_OF_FRAME:
            return file[position + 1] == BASELINE
        position += 2 + int.from_bytes(file[position + 2 : position + 4], "big")
    return False
