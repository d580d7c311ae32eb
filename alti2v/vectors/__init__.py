"""Vectors of pictures: written by `embed`, searched by `search`, regressed on by `kpi`."""
