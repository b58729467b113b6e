"""Prediction: images to scores and labels, their metrics, and the files that are written of them."""
