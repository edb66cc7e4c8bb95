"""The operator, its execution, and how both meet Airflow: errors, state and deadlines."""
