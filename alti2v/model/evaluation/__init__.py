"""From probabilities to figures, without Keras: metrics, thresholds, calibration and bootstrap intervals."""
