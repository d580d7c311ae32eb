"""The files of pending posts: fetched in parallel, checked, and handed to the writer in batches."""
