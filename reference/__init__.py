"""The truth: the documents' formulas, each written once, in pure Python with nothing but the standard library."""
