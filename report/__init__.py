"""The verdict: what the laws saw, as a table, as failures in words, as JSON, and as scripts that show a fault."""

from pathlib import Path

REPLAYS = Path(".assay") / "failures.json"  # the failures of the last run in this folder, for `assay replay`
