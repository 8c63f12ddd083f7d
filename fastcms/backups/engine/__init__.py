"""The backup engine: plain Python on paths and frozen dataclasses; no web, no ORM, no settings."""
