"""From predictions to figures: arrays alone, never Keras."""
