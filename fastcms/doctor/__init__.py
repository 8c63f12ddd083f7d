"""`fastcms doctor`: look at the whole installation, change nothing, and say what is wrong and what to do."""
