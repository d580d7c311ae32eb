"""Download of the files of pending posts: in parallel, validated, and written in batches."""
