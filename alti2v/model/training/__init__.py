"""The loop that trains a network, what it keeps, and how it resumes: everything below `alti2v train`."""
