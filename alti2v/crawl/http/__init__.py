"""One polite HTTP request: pace, retries, robots.txt, deadlines, and a guard against private addresses."""
