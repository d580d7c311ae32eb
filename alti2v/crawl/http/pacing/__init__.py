"""Pacing of the requests to each host: its rate, its pauses, and the circuit breaker that gives up on it."""
