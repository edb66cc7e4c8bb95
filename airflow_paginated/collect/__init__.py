"""The one loop that collects: pages are scheduled, checked, stored or handed out. Knows no Airflow."""
