"""Image quality: the extractor of features, the Frechet distance with its interval, and the other metrics."""
