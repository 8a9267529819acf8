"""Show the results of any DVC pipeline in MLflow, one complete run for each distinct result."""
