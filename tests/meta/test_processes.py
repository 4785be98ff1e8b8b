"""A candidate's process that ends in an odd way, or begins slowly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assay.implementations import processes
from assay.implementations.isolated import started
from assay.implementations.load import LoadError
from assay.implementations.observe import observe
from assay.tests.meta.test_isolated import GREETING, call, python_server

CLOSED = "import os, time; os.close(1); time.sleep(600)"


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(processes, "LINGERING", 0.2)


def test_a_server_that_closes_its_output_and_lives_on_has_crashed(tmp_path, hasty):
    implementation = started(None, python_server(tmp_path, GREETING + "input()\n" + CLOSED))
    seen = observe(implementation, call(2))
    assert seen.died == "crash"
    assert "ended its process, by closing its standard output: what ran on was killed" in seen.fault


def test_a_server_that_closes_its_output_before_it_greets_is_told_so(tmp_path, hasty):
    with pytest.raises(LoadError, match="ended before it answered, by closing its standard output"):
        started(None, python_server(tmp_path, CLOSED))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux tells which files are open")
def test_a_restart_leaves_no_file_open(tmp_path):
    worker = started(None, python_server(tmp_path, GREETING + "input()")).worker
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        worker.renew()
    assert len(os.listdir("/proc/self/fd")) == before
