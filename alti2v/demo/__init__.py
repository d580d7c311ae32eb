"""The whole pipeline without a network: a stand-in board with drawn pictures, and every stage after it."""
