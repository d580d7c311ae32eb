"""One polite HTTP request, whatever it is for: pace, retries, robots.txt, deadlines, and a guard against private addresses."""
