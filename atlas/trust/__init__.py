"""How far a saliency map can be trusted."""
