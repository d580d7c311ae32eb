"""Pictures as vectors: written by `embed`, found again by `search`, held against figures by `kpi`."""
