"""Few-shot models: an image stem and a head that learns from labeled images."""
