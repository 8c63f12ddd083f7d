"""The dashboard: its frame, login and navigation."""
