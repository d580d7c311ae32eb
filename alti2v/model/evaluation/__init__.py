"""Figures from probabilities, without Keras: metrics, thresholds, calibration and bootstrap intervals."""
