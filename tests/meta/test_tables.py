"""Tables that laws of all operators look up have every operator: what a new one still lacks is named here."""

from __future__ import annotations

from importlib import import_module

import pytest

from assay.spec import OPERATORS
from assay.tests.benchmarks.cases import LAYERS

OF_ALL = {
    "tests.trial.plain": ("RESULTS", "GRADIENTS"),
    "tests.trial.layers": ("LAYERS",),
    "tests.trial.large": ("AXES", "SHAPED", "USUAL"),
    "tests.trial.sweeps": ("SWEPT", "MADE"),
    "tests.trial.smaller": ("NAMED_AXES",),
    "tests.trial.aligned": ("ALIGNED_LAYERS",),
    "tests.trial.mixtures": ("MIXED", "FILLED"),
    "tests.conformance.test_contract": ("SMALL_CASES", "OF_A_SAMPLE"),
    "tests.conformance.test_memory": ("SPACIOUS",),
    "tests.meta.test_text_and_cost": ("FORMULAS",),
    "tests.meta.formulas": ("SHAPES", "TRUE"),
    "tests.power.peers": ("DRAWN", "SMALL"),
    "tests.benchmarks.growth": ("GROWING",),
}


def test_every_operator_is_timed():
    assert {layer.operator for layer in LAYERS} == {*OPERATORS}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in OF_ALL.items() for name in names])
def test_every_operator_is_in(module, name):
    table = getattr(import_module(f"assay.{module}"), name)
    lacking = [operator for operator in OPERATORS if operator not in table]
    assert not lacking, f"{name} of {module} has no {' nor '.join(lacking)}"
