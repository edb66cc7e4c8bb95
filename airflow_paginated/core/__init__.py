"""Values, errors, policies and rules shared by every other folder; imports neither Airflow nor an HTTP library."""
