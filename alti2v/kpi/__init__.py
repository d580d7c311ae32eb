"""Which tags go with a high figure of yours: a regression of scores or clicks on tags."""
