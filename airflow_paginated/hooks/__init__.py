"""Connections: the hook, its settings, and the file systems and masks that Airflow provides."""

from typing import Final

DEFAULT_CONN_ID: Final = "paginated_api_default"
