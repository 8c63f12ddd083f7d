"""Commands of status."""
