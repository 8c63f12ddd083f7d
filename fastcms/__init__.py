"""A headless CMS for one small machine, whose backups can be trusted."""

__version__ = "0.1.0"
