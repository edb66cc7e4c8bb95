"""Collects paginated HTTP APIs into complete datasets, from Apache Airflow."""

__version__ = "0.1.0"
