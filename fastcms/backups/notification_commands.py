"""Commands of notification."""
