"""Figures: body, face, hair and clothes."""
