"""How boards are asked and what they answer: two dialects, as pure functions to addresses and from answers."""
