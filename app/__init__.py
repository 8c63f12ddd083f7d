"""The documented entry point lives in app.main."""
