"""From Airflow connections to sessions, pages and rows."""
