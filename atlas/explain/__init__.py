"""What drives a score: saliency methods and their windows."""
