"""Four simple judges, as other projects have them, for comparison: what do they make of the same mutants?

Each says whether it accepts one operator of an implementation in a dtype, beside PyTorch's own result. They are fair
to what they imitate: shapes with channels, batches and a bias, a beta that is not 1 where values are drawn. None of
this judges anybody. The tolerances stand here because they are the peers', which is the one exception to the
project's rule that there are none (`tools/lint.py` knows this file by name).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from assay.implementations.contract import Implementation
from assay.implementations.load import load

Arguments = list[Any]
DRAWS = 5

# Sizes of the tensors that are drawn, in order; a number or a pair is a parameter.
DRAWN: dict[str, tuple[tuple[Any, ...], ...]] = {
    "swish": (([16, 64], 1.5),),
    "linear": (([8, 64], [32, 64], [32]),),
    "glu": (([8, 64], [32, 64], [32, 64], [32], [32]),),
    "swiglu": (([8, 64], [32, 64], [32, 64], [32], [32]),),
    "pad2d": (([2, 3, 16, 16], 1),),
    "conv2d": (([2, 3, 16, 16], [8, 3, 3, 3], [8], 1, 1), ([2, 3, 15, 16], [8, 3, 3, 2], [8], (2, 1), (1, 0))),
    "max_pool2d": (([2, 3, 16, 16], 2), ([2, 3, 15, 16], 3, 2, 1)),
}
SMALL: dict[str, tuple[tuple[Any, ...], ...]] = {
    "swish": (([2, 3], [1]),),
    "linear": (([2, 3], [4, 3], [4]),),
    "glu": (([2, 3], [2, 3], [2, 3], [2], [2]),),
    "swiglu": (([2, 3], [2, 3], [2, 3], [2], [2]),),
    "pad2d": (([1, 2, 3, 2], 1),),
    "conv2d": (([2, 2, 5, 4], [2, 2, 3, 2], [2], (2, 1), (1, 0)),),
    "max_pool2d": (([1, 2, 5, 4], 2), ([1, 2, 5, 4], 3, 2, 1)),
}


def like_kernelbench(implementation: Implementation, operator: str, dtype: str) -> bool:
    """Five normal draws of one shape, forward, allclose with 1e-2 and 1e-2 (KernelBench's, for half types)."""

    def close(got: Any, want: Any) -> bool:
        return got.shape == want.shape and torch.allclose(got, want, rtol=1e-2, atol=1e-2)

    pairs = _forward(implementation, operator, _draws(DRAWN[operator][:1], dtype, DRAWS))
    return _holds(lambda: all(close(got, want) for got, want in pairs))


def like_assert_close(implementation: Implementation, operator: str, dtype: str) -> bool:
    """Five normal draws of each shape, forward and the gradients of all tensors, torch.testing's defaults."""

    def compared() -> bool:
        for arguments in _draws(DRAWN[operator], dtype, DRAWS):
            got, want = (_with_gradients(each, arguments) for each in _both(implementation, operator))
            torch.testing.assert_close(got, want)
        return True

    return _holds(compared)


def like_onnx(implementation: Implementation, operator: str, dtype: str) -> bool:
    """Ramps as inputs, ones or ramps as weights, forward, rtol 1e-3 and atol 1e-7 (ONNX's backend node tests)."""

    def close(got: Any, want: Any) -> bool:
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-7)
        return True

    pairs = _forward(implementation, operator, _fixed(operator, getattr(torch, dtype)))
    return _holds(lambda: all(close(got, want) for got, want in pairs))


def like_gradcheck(implementation: Implementation, operator: str, dtype: str) -> bool:
    """torch.autograd.gradcheck with its defaults: small, in float64, whatever the dtype; of itself, not of PyTorch."""
    function = implementation.operators[operator]
    drawn = list(_draws(SMALL[operator], "float64", 1))
    return _holds(lambda: all(torch.autograd.gradcheck(function, _leaves(arguments)) for arguments in drawn))


PEERS: dict[str, Callable[[Implementation, str, str], bool]] = {
    "allclose 1e-2": like_kernelbench,
    "assert_close": like_assert_close,
    "fixed vectors": like_onnx,
    "gradcheck": like_gradcheck,
}


def accepted_by(peer: str, implementation: Implementation, operators: Iterable[str], dtype: str) -> bool:
    """Whether a peer accepts all of these operators. One that it has no case for it does not reject."""
    return all(PEERS[peer](implementation, operator, dtype) for operator in operators if operator in DRAWN)


def _holds(check: Callable[[], bool]) -> bool:
    """Whether it holds; who raises is rejected."""
    try:
        return check()
    except Exception:
        return False


def _both(implementation: Implementation, operator: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    return implementation.operators[operator], load("torch").operators[operator]


def _forward(implementation: Implementation, operator: str, given: Iterable[Arguments]) -> Iterable[tuple[Any, Any]]:
    """(got, wanted), made as they are asked for: PyTorch first, and both from the same tensors."""
    candidate, right = _both(implementation, operator)
    for arguments in given:
        want = right(*arguments)
        yield candidate(*arguments), want


def _draws(shapes: Iterable[tuple[Any, ...]], dtype: str, times: int) -> Iterable[Arguments]:
    generator = torch.Generator().manual_seed(0)
    for given in shapes:
        for _ in range(times):
            yield [
                torch.randn(part, generator=generator).to(getattr(torch, dtype)) if isinstance(part, list) else part
                for part in given
            ]


def _leaves(arguments: Arguments) -> Arguments:
    return [part.clone().requires_grad_() if isinstance(part, torch.Tensor) else part for part in arguments]


def _with_gradients(function: Callable[..., Any], arguments: Arguments) -> list[Any]:
    """The result, and the gradients of all tensors of its sum weighted by a ramp."""
    leaves = _leaves(arguments)
    result = function(*leaves)
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    incoming = torch.linspace(-1, 1, result.numel(), dtype=torch.float64).reshape(result.shape).to(result.dtype)
    return [result.detach(), *torch.autograd.grad(result, tensors, incoming)]


def _ramp(*shape: int) -> Any:
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)


def _fixed(operator: str, dtype: torch.dtype) -> list[Arguments]:
    """The vectors of the node tests, and for operators that these lack, vectors in their manner."""
    gated = [_ramp(2, 3), _ramp(4, 3) / 8, torch.ones(4, 3) / 4, _ramp(4), torch.ones(4)]
    cases: dict[str, list[Arguments]] = {
        "swish": [[torch.tensor([3.0, 4.0, 5.0]), 1.0]],
        "linear": [[_ramp(2, 3), torch.ones(4, 3)], [_ramp(2, 3), _ramp(4, 3), _ramp(4)]],
        "glu": [gated],
        "swiglu": [gated],
        "pad2d": [[_ramp(1, 3, 4, 5), 1]],
        "conv2d": [
            [_ramp(1, 1, 5, 5), torch.ones(1, 1, 3, 3), None, 1, 1],
            [_ramp(1, 1, 5, 5), torch.ones(1, 1, 3, 3), None, 1, 0],
            [_ramp(1, 1, 7, 5), torch.ones(1, 1, 3, 3), None, 2, 1],
        ],
        "max_pool2d": [[_ramp(1, 1, 5, 5) + 1, 5, 1, 2], [_ramp(1, 1, 5, 5) + 1, 2, 2], [_ramp(1, 3, 8, 8), 2]],
    }
    return [[p.to(dtype) if isinstance(p, torch.Tensor) else p for p in case] for case in cases[operator]]
