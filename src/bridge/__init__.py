"""From DVC to MLflow, for any pipeline: one complete run for each distinct result. It knows nothing of this project."""
