"""From a MODEL argument to a network that answers: our runs and other people's taggers."""
