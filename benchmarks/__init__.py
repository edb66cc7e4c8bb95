"""Benchmarks against the plain recipe and HttpOperator; ``make bench`` runs them."""
