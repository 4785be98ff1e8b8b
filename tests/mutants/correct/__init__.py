"""Correct but different: implementations that compute the same in other ways, which no law may reject."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.contract import Implementation
from assay.implementations.load import load
from assay.reference.arithmetic.formats import STORAGE
from assay.tests.mutants.correct import arrays, conv2d, gates, linear, pooling, sums, transforms, units
from assay.tests.mutants.correct.arguments import Function, in_float64


def summed_in_storage(*operators: str) -> dict[str, Mapping[str, object]]:
    """A declaration for operators going back in the two half formats."""
    words = {"accumulation": "storage"}
    return {f"{operator}.backward.{dtype}": words for operator in operators for dtype in ("bfloat16", "float16")}


# PyTorch's own operators: docs/findings.md.
STORED, SUMMED, POOLED = map(summed_in_storage, ("conv2d", "linear", "max_pool2d"))
# oneDNN's bfloat16 products of matrices take subnormal numbers for zero, in batches as in convolutions.
FLUSHED = {"conv2d.forward.bfloat16": {"flush": True}}
SPREADS = {"conv2d.forward.bfloat16": {"spreads": True, "flush": True}}


def declared(operator: str, direction: str = "forward", **words: Any) -> dict[str, Mapping[str, object]]:
    """A declaration for an operator in every dtype."""
    return {f"{operator}.{direction}.{dtype}": words for dtype in STORAGE}


BY_FFT = {"algorithm": "fft", "accumulation": "float64"}


@dataclass(frozen=True)
class Variant:
    """Operators that are right, and what they say of themselves."""

    operators: Mapping[str, Function]
    precision: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    array: str = "torch"
    dtypes: tuple[str, ...] | None = None
    vjp: Any = None

    @property
    def gradients(self) -> bool:
        """Whether it has gradients: by its library, or its own."""
        return self.array == "torch" or self.vjp is not None

    def words(self) -> dict[str, Any]:
        """As attributes of a module."""
        optional = {"dtypes": self.dtypes, "vjp": self.vjp}
        words = {"array": self.array, "precision": self.precision, "gradients": self.gradients}
        return dict(self.operators) | words | {key: value for key, value in optional.items() if value is not None}


EAGER: dict[str, Function] = {
    "swish": gates.eager_swish,
    "linear": linear.plain,
    "glu": gates.eager_glu,
    "swiglu": gates.eager_swiglu,
    "pad2d": pooling.padded_by_copy,
    "conv2d": conv2d.im2col,
    "max_pool2d": pooling.unfolded,
}


def _gated_by(sigmoid: Function) -> dict[str, Function]:
    """swish, GLU and SwiGLU with this sigmoid, fused."""
    glu, swiglu = gates.fused(sigmoid), gates.fused(lambda t: t * sigmoid(t))
    return {"swish": gates.swish_by(sigmoid), "glu": glu, "swiglu": swiglu}


def _both_ways(dtype: str, **words: Any) -> dict[str, Mapping[str, object]]:
    """A declaration of sums in one dtype, forward and going back."""
    ways = [(operator, way) for operator in ("linear", "conv2d") for way in ("forward", "backward")]
    return {f"{operator}.{way}.{dtype}": words for operator, way in ways}


VARIANTS: dict[str, Variant] = {
    "eager": Variant(EAGER, STORED | POOLED | FLUSHED),
    "float64": Variant({name: in_float64(function) for name, function in EAGER.items()}),
    # Sums in other orders.
    "reversed": Variant(sums.summed_by(sums.from_the_end) | {"max_pool2d": pooling.separable}, POOLED),
    "halves": Variant(sums.summed_by(sums.halves)),
    "pairwise": Variant(sums.summed_by(sums.pairwise)),
    "sorted": Variant(sums.summed_by(sums.by_size) | {"max_pool2d": pooling.sorted_windows}, POOLED),
    "blocked": Variant(sums.summed_by(sums.blocked)),
    "lanes": Variant(sums.summed_by(sums.in_lanes)),
    "kahan": Variant(sums.summed_by(sums.kahan)),
    "neumaier": Variant(sums.summed_by(sums.neumaier)),
    "two-sum": Variant(sums.summed_by(sums.two_sum)),
    "stored-sums": Variant(
        sums.summed_by(sums.in_order, stored=True),
        {
            f"{operator}.{direction}.float16": {"accumulation": "storage"}
            for operator in ("linear", "conv2d")
            for direction in ("forward", "backward")
        },
        dtypes=("float64", "float32", "float16"),
    ),
    # linear and conv2d as other products.
    "einsum": Variant({"linear": linear.by_einsum, "conv2d": conv2d.unfold_einsum}, STORED | SUMMED | FLUSHED),
    "batched": Variant(
        {"linear": linear.by_bmm, "conv2d": conv2d.sample_by_sample, "max_pool2d": pooling.volumes},
        STORED | SUMMED | POOLED,
    ),
    "shifted": Variant(
        {
            "linear": linear.by_outer_products,
            "conv2d": conv2d.shift_and_add,
            "pad2d": pooling.padded_by_cat,
            "max_pool2d": pooling.running,
        },
        POOLED,
    ),
    "rows": Variant({"conv2d": conv2d.row_by_row, "max_pool2d": pooling.gathered}, POOLED),
    "correlated": Variant({"conv2d": conv2d.correlated}),
    "adjoint": Variant({"conv2d": conv2d.adjoint}),
    "toeplitz": Variant({"conv2d": conv2d.toeplitz}, declared("conv2d", spreads=True)),
    "fft": Variant(
        {"conv2d": transforms.convolving(transforms.by_fft, torch.float64)},
        declared("conv2d", **BY_FFT),
    ),
    "fft-back": Variant(
        {"conv2d": transforms.both_ways_by_fft},
        declared("conv2d", **BY_FFT) | declared("conv2d", "backward", **BY_FFT),
    ),
    "fft-finite": Variant(
        {"conv2d": transforms.finite_by_fft},
        declared("conv2d", **BY_FFT) | declared("conv2d", "backward", **BY_FFT),
    ),
    "fft-float32": Variant({"conv2d": transforms.convolving(transforms.by_fft)}, declared("conv2d", algorithm="fft")),
    "winograd": Variant(
        {"conv2d": transforms.convolving(transforms.by_winograd)}, declared("conv2d", algorithm="winograd")
    ),
    # Operands of fewer bits than the tensors have.
    "few-bits": Variant(
        {"linear": units.linear(units.FEW_BITS), "conv2d": units.conv2d(units.FEW_BITS)},
        _both_ways("float32", operands="bfloat16"),
        dtypes=("float32",),
    ),
    "single": Variant(
        {"linear": units.linear(units.SINGLE)},
        _both_ways("float64", operands="float32", accumulation="float32"),
        dtypes=("float64",),
    ),
    # Results that do not lie in row order.
    "turned": Variant(
        {
            "linear": linear.transposed,
            "glu": gates.transposed(gates.eager_glu),
            "swiglu": gates.transposed(gates.eager_swiglu),
            "conv2d": conv2d.turned,
        }
    ),
    "channels-last": Variant({"conv2d": conv2d.channels_last}, STORED | SPREADS),
    "buffered": Variant({"linear": linear.into_a_buffer, "conv2d": conv2d.into_a_buffer}, STORED | SPREADS),
    # Sigmoids, and gates.
    "expit": Variant(_gated_by(gates.expit)),
    "two-branches": Variant(_gated_by(gates.two_branches)),
    "tanh": Variant(_gated_by(gates.by_tanh)),
    "logsigmoid": Variant(_gated_by(gates.by_logsigmoid)),
    "quotient": Variant({"swish": gates.swish_as_quotient}),
    "regrouped": Variant({"swiglu": gates.glu_times_its_gate}),
    "once": Variant({"swish": gates.swish_back_once}),
    "rounded": Variant({"glu": gates.rounded_everywhere(torch.sigmoid), "swiglu": gates.rounded_everywhere(F.silu)}),
    "chunked": Variant(
        {"glu": gates.chunked(gates.eager_glu), "swiglu": gates.chunked(gates.fused(F.silu))},
        summed_in_storage("glu", "swiglu"),  # the chunks' gradients of x are added to each other as tensors
    ),
    # The latter multiplies in another way what lies in another way, which a checkpoint of copies refuses.
    "checkpointed": Variant(
        {"glu": gates.recomputed(gates.eager_glu), "swiglu": gates.recomputed(gates.fused(F.silu))}
    ),
    # Derivatives of their own, and another array library.
    "recomputed": Variant({"glu": gates.glu_of_two, "swiglu": gates.swiglu_of_two}),
    "own-gradient": Variant({"linear": linear.with_own_gradient, "max_pool2d": pooling.with_own_gradient}),
    "numpy": Variant({name: getattr(arrays, name) for name in EAGER}, array="numpy"),
    "numpy-vjp": Variant({"linear": arrays.linear, "conv2d": arrays.conv2d}, array="numpy", vjp=arrays.vjp),
}


def variant(name: str) -> Implementation:
    """A correct implementation by name."""
    found = VARIANTS[name]
    return Implementation(
        f"correct {name}",
        {"conv2d_parameters": load("torch").operators["conv2d_parameters"], **found.operators},
        found.array,
        found.precision,
        dtypes=found.dtypes,
        vjp=found.vjp,
        gradients=found.gradients,
        recipe=f"import types\nfrom assay.tests.mutants.correct import VARIANTS\n"
        f"candidate = types.SimpleNamespace(**VARIANTS[{name!r}].words())",
    )


def __getattr__(name: str) -> Any:
    """Each variant by name, so that `assay check assay.tests.mutants.correct:eager` judges it."""
    if name in VARIANTS:
        return types.SimpleNamespace(**VARIANTS[name].words())
    raise AttributeError(name)
