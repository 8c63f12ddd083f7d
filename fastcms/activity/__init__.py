"""Who did what: the log of all actions, through the API, the dashboard and the terminal."""
