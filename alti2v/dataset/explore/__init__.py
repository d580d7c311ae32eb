"""Sample pictures and near-duplicate groups that `alti2v stats` shows."""
