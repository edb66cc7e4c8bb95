"""Tests of strategies as values: one page in, one successor out."""
