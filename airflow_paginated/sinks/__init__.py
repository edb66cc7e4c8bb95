"""Destinations for rows: files on any filesystem, or the task's return value."""

from airflow_paginated.sinks.choice import sink_from
from airflow_paginated.sinks.files.file_sink import FileSink, local_or_fsspec
from airflow_paginated.sinks.rows import AddColumns
from airflow_paginated.sinks.xcom import XComSink

__all__ = ["AddColumns", "FileSink", "XComSink", "local_or_fsspec", "sink_from"]
