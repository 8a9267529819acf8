"""The spiral case study: data, models, training, figures, and the bridge to MLflow."""
