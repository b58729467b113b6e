"""Trained networks for other software: ONNX, and the tensors under PyTorch's names."""
