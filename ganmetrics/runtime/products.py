"""Inner products of many vectors on a CPU by oneDNN, because MKL, behind `@`, is slow on non-Intel processors.

Products of float32 use the operator that `torch.compile` substitutes for a linear layer; those of bytes are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmetrics.runtime.private_operators import PrivateOperator, some_of

EXACT_WIDTH = 1023  # dimensions of centred bytes: 1023 * 128^2 < 2^24, so float32 sums of their products are exact
NARROWEST = 16  # rows, columns or dimensions below which the private operators are not faster
SMALLEST = 2**11  # multiplications below which the private float32 product is not faster
COLUMNS = 4096  # of bytes that are converted to float32 at a time
EDGES = (  # n, m and D of trials: odd sizes, and sizes about the vector width of processors
    (16, 16, 16), (17, 63, 17), (31, 17, 31), (65, 33, 33), (33, 31, 63), (63, 65, 65), (16, 17, 127), (17, 16, 129),
    (1, 17, 65), (2, 31, 64), (15, 1, 33), (15, 2, 31), (1, 1, 2048), (3, 3, 2049),
)  # fmt: skip


class Factors(NamedTuple):
    """Vectors `(n, D)` and `(m, D)`, and a vector `(m,)` that is added to every row of their products."""

    x: Tensor
    y: Tensor
    added: Tensor | None


class Bytes(NamedTuple):
    """Bytes less 128, `(n, D)` and `(D, m)`, as int8 or as float32."""

    a: Tensor
    b: Tensor


class _Float32Products(PrivateOperator[Factors]):
    """`F.linear` of float32."""

    def private(self, work: Factors) -> Tensor:
        added = None if work.added is None else work.added.contiguous()
        return torch.ops.mkldnn._linear_pointwise(work.x, work.y, added, "none", [], "")

    def plain(self, work: Factors) -> Tensor:
        return F.linear(*work)

    def pays(self, work: Factors) -> bool:
        x, (n, dim), m = work.x, work.x.shape, len(work.y)
        is_float = x.device.type == "cpu" and x.dtype == torch.float32
        return is_float and dim >= NARROWEST and n * m * dim >= SMALLEST

    def shape(self, work: Factors) -> tuple[int, ...]:
        return *work.x.shape, len(work.y), work.added is None

    def part(self, work: Factors, result: Tensor) -> tuple[Factors, Tensor]:
        rows = some_of(len(work.x))
        return work._replace(x=work.x[rows]), result[rows]

    def agrees(self, work: Factors, result: Tensor) -> bool:
        """Within rounding errors, which partly cancel: they grow with sqrt(D), and at most with D.

        Equal infinities agree, NaN never does.
        """
        expected = self.plain(work)
        if result.shape != expected.shape or result.dtype != expected.dtype:
            return False
        dim = work.x.shape[1]
        sizes = torch.outer(*(torch.linalg.vector_norm(side, dim=1, dtype=torch.float64) for side in work[:2]))
        if work.added is not None:
            sizes += work.added.abs()
        allowed = min(dim, 4 * dim**0.5) * torch.finfo(torch.float32).eps * sizes
        near = (result.double() - expected.double()).abs() <= allowed
        return bool((near | (result == expected)).all())

    def trials(self) -> Iterator[Factors]:
        draw = torch.Generator().manual_seed(0)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float32)

        for n, m, dim in EDGES:
            yield Factors(normal(n, dim), normal(m, dim), normal(m))
        yield Factors(normal(37, 129), normal(53, 129), None)
        yield Factors(normal(2 * 37, 129)[::2], normal(129, 53).T, normal(2 * 53)[::2])


class _Int8Products(PrivateOperator[Bytes]):
    """Products of int8 summed in int32, on processors with an instruction for it (VNNI)."""

    def private(self, work: Bytes) -> Tensor:
        return torch._int_mm(*work)

    def plain(self, work: Bytes) -> Tensor:
        """Exact float32 products, of int8 in blocks of columns, because float32 takes four times the memory."""
        a, b = work
        parts = b.split(COLUMNS, dim=1) if b.dtype == torch.int8 else (b,)
        products = [_by_float32(a.float(), part.float()) for part in parts]
        return products[0] if len(products) == 1 else torch.cat(products, dim=1)

    def pays(self, work: Bytes) -> bool:
        a, b = work
        return a.device.type == "cpu" and a.dtype == torch.int8 and min(*a.shape, b.shape[1]) >= NARROWEST

    def shape(self, work: Bytes) -> tuple[int, ...]:
        return *work.a.shape, work.b.shape[1]

    def part(self, work: Bytes, result: Tensor) -> tuple[Bytes, Tensor]:
        rows = some_of(len(work.a))
        return work._replace(a=work.a[rows]), result[rows]

    def agrees(self, work: Bytes, result: Tensor) -> bool:
        return torch.equal(result, self.plain(work))

    def trials(self) -> Iterator[Bytes]:
        """Extreme values, which saturate on processors that sum pairs of products in 16 bits."""
        draw = torch.Generator().manual_seed(0)

        def extreme(*shape: int) -> Tensor:
            return (torch.randint(0, 2, shape, generator=draw) * 255 - 128).to(torch.int8)

        for n, m, dim in EDGES:
            if min(n, m) >= NARROWEST:
                yield Bytes(extreme(n, dim), extreme(m, dim).T.contiguous())
        yield Bytes(extreme(32, 784), extreme(32, 784).T.contiguous())
        yield Bytes(extreme(2 * 33, 65)[::2], extreme(31, 65).T)

    def supported(self) -> bool:
        return bool(getattr(torch.cpu, "_is_vnni_supported", lambda: False)()) and super().supported()


FLOAT32_PRODUCTS = _Float32Products()
INT8_PRODUCTS = _Int8Products()


def inner_products(x: Tensor, y: Tensor, added: Tensor | None = None) -> Tensor:
    """`x @ y.T + added` for `(n, D)`, `(m, D)` and `(m,)`: `(n, m)`. No gradient flows through it."""
    return FLOAT32_PRODUCTS(Factors(x, y, added))


def byte_products(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b` exactly, in int32, for bytes less 128: `(n, D)` and `(D, m)`, both int8 or both float32."""
    return INT8_PRODUCTS(Bytes(a, b))


def int8_pays(n: int, dim: int) -> bool:
    """Whether n points of `dim` dimensions on a CPU are better stored as int8 than as float32."""
    return min(n, dim) >= NARROWEST and INT8_PRODUCTS.available()


def _by_float32(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b` of centred bytes in int32: exact, because each float32 product has at most EXACT_WIDTH dimensions."""
    total: Tensor | None = None
    for x, y in zip(a.split(EXACT_WIDTH, dim=1), b.split(EXACT_WIDTH, dim=0), strict=True):
        product = (x @ y).to(torch.int32)
        total = product if total is None else total.add_(product)
    return total if total is not None else torch.zeros(len(a), b.shape[1], dtype=torch.int32, device=a.device)
