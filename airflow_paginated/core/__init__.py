"""Values, errors, policies and rules that every other folder uses. Knows neither Airflow nor an HTTP library."""
