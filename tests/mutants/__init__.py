"""Wrong implementations, each of them small, that the laws must catch; and correct ones that they must not."""
