"""Backups: made while people write, proven before they are used, put back whole or not at all."""
