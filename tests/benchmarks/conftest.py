"""`test_speed.py` is for `assay bench` alone: it needs the session that the command makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.tests.benchmarks.session import Session


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    started = any(isinstance(plugin, Session) for plugin in config.pluginmanager.get_plugins())
    return True if collection_path.name == "test_speed.py" and not started else None
