"""Tasks: one pipeline, configured and delegated to."""
