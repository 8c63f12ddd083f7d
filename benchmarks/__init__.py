"""Programs that show and measure what FastCMS does, on a real server."""
