"""Pictures: from the bytes of a file to a square picture, perceptual hashes and a thumbnail."""
