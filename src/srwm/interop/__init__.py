"""Import of models and weights from other projects, and export to ONNX."""
