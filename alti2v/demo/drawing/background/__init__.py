"""Scenery, objects and effects around the figures."""
