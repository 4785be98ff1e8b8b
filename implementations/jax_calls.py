"""Calling what is written for JAX with numpy arrays: compiled as a whole, as jax.jit is meant, and differentiated."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from assay.implementations.through import inside, is_tensor, tensors_of

jax.config.update("jax_enable_x64", True)

TENSOR = object()  # stands for a tensor among parameters, which are part of what is compiled


def in_jax(operator: Callable[..., Any]) -> Callable[..., Any]:
    """The operator on numpy arrays."""

    @functools.wraps(operator)
    def call(*arguments: Any) -> Any:
        tensors = [jnp.asarray(each) for each in arguments if is_tensor(each)]
        return np.asarray(jax.jit(_on_tensors(operator, _parameters(arguments)))(*tensors))

    return call


def _parameters(arguments: Any) -> tuple[Any, ...]:
    return tuple(TENSOR if is_tensor(each) else each for each in arguments)


@functools.cache
def _on_tensors(operator: Callable[..., Any], parameters: tuple[Any, ...]) -> Callable[..., Any]:
    """The operator as a function of its tensors alone; the same one each time, so that jit knows it again."""

    def run(*tensors: Any) -> Any:
        given = iter(tensors)
        return operator(*(next(given) if each is TENSOR else each for each in parameters))

    return run


@functools.cache
def _backwards(operator: Callable[..., Any], parameters: tuple[Any, ...]) -> Callable[..., Any]:
    def run(incoming: Any, *tensors: Any) -> Any:
        return jax.vjp(_on_tensors(operator, parameters), *tensors)[1](incoming)

    return jax.jit(run)


def differentiating(operators: Mapping[str, Any]) -> Callable[..., dict[str, Any]]:
    """The ``vjp`` of an adapter whose names are ``operators``."""

    def vjp(operator: str, arguments: Mapping[str, Any], cotangent: Any) -> dict[str, Any]:
        names = tensors_of(arguments)
        back = _backwards(inside(operators[operator]), _parameters(arguments.values()))
        found = back(jnp.asarray(cotangent), *(jnp.asarray(arguments[name]) for name in names))
        return dict(zip(names, map(np.asarray, found), strict=True))

    return vjp
