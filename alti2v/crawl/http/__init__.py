"""Polite HTTP requests: rate limits, retries, robots.txt, deadlines, and a guard against private addresses."""
