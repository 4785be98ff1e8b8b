"""The judged: what an implementation offers, how it is found, called and observed, and the adapters that ship."""
