"""What docs/power.md and the terminal say above the tables of `assay power`."""

ABOUT = """Rendered from `docs/power.json` by `assay power --render`; `assay power --json docs/power.json` makes that.
Every mutant is an implementation that is wrong in one way (`tests/mutants/`). The laws of the operators that it
replaces run on it in its dtype, on one object, in a process of its own, without shrinking, at the fixed seed. Seconds
count from the start of the laws, not of the interpreter, and were taken on a shared machine: they are rather too long.
At the last budget all of the laws run, at the others those until the first kill, and with `--first` at every one; the
cheapest come first (`tests/trial/costs.py`). `median by file` is what it would be if they ran in the order of their
files. oneDNN and NNPACK are off, so that nothing dies of theirs (`docs/design.md`)."""
ORIGINS = """Kernels that others wrote were judged once at quick, by the laws of that day. Those that got past
are planted, but for those that break no promise after all, and laws were written for them
(`tests/mutants/origins.py`). Of those of `habits-` and `programs-` these are not told yet, and not planted:"""
MATRIX = """Examples and seconds until the first law of the tier fails, from the start of that tier's laws; `-` where
none fails, empty where the tier has no such laws. A later tier meets an object that earlier laws have called."""
PEERS = """Judges as other projects have them, re-created in `tests/power/peers.py` and run on the same mutants in the
same run. An operator that a judge has no case for it does not reject. `correct rejected` is of implementations on
PyTorch's tensors that are right but compute in another way, in each dtype that they have, Winograd's and Fourier's ways
apart; `tests/meta/` holds assay to rejecting none of them."""
SMALLEST = """The least e with which the operator's result x (1 + e) is seen by the laws of its formula, its gradient
and its statistics at the quick budget: in all elements / in one. Found by bisection. Rounding the result to its dtype
loses what is less than half a unit roundoff, so nothing is seen below 5.6e-17, 3.0e-08, 2.0e-03 and 2.4e-04 in float64,
float32, bfloat16 and float16. It takes longer than the kills, and may be kept from an earlier run, one without a tier
that is not in the table."""
TERMS = """The same for a sum of n products, in three results of 128 elements, on one family of values each; the
statistics in three results of 1024 sums of random products."""
