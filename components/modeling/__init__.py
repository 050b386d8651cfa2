"""What the trainers share: towers, interactions, the training loop."""
