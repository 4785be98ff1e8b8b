"""How much the laws see: the kill matrix, the smallest error, and what simple judges make of the same mutants."""
