"""Collections with typed fields, and their records."""
