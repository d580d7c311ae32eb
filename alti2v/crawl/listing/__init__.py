"""Listing of a board: requests to its API for posts, changes of posts, and tags."""
