"""pytest wiring: options, parametrisation, Hypothesis profiles."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings

from assay.implementations.load import load
from assay.tests.trial.candidate import Candidate

for b, n in dict(quick=12, gate=40, deep=1000).items():
    settings.register_profile(b, max_examples=n, deadline=None, derandomize=True, database=None, print_blob=False, report_multiple_bugs=False,
        phases=(Phase.explicit, Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck))


def pytest_addoption(parser):
    parser.addoption("--impl", default="torch")
    parser.addoption("--budget", default="quick")


def pytest_configure(config):
    settings.load_profile(config.getoption("--budget"))


def pytest_generate_tests(metafunc):
    law = getattr(metafunc.function, "law", None)
    if law and "candidate" in metafunc.fixturenames:
        impl = load(metafunc.config.getoption("--impl"))
        if law.operators:
            metafunc.parametrize("operator", [o for o in law.operators if o in impl.operators])
        metafunc.parametrize("candidate", [Candidate(impl, d) for d in law.dtypes], ids=[f"cpu-{d}" for d in law.dtypes])
