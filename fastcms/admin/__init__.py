"""The dashboard's frame: login, set-up, navigation, theme and security headers.

Each domain brings its own `pages.py`; this package joins them to one application at /admin.
"""
