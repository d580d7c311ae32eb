"""Vectors of pictures: written by `embed`, searched by `search`, used as features by `kpi`."""
