"""Admins and editors, their sessions, and API tokens."""
