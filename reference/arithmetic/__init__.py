"""What a formula can run on: floats, exact fractions, enclosures, a tape for gradients, a cost count, and text."""
