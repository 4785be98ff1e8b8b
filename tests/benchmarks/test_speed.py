"""The benchmarks as pytest runs them: `assay bench` starts them, and says what is timed."""

from __future__ import annotations


def test_speed(benchmark, timed, bench):
    """Candidate and baseline in turn, in one case."""
    bench.time(timed, benchmark)
