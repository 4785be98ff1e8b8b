"""The verdict: what the laws saw, as a table, as failures in words, as JSON, and as scripts that show a fault."""
