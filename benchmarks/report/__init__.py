"""From results to docs/benchmarks.md: targets, charts and the page."""
