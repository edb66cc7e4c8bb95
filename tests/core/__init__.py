"""Tests of the values, errors and policies in core."""
