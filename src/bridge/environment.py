"""Set the variables that MLflow reads when it is imported."""

import os

# By name of the variable. What the user has set stays.
SETTINGS = {
    # No advice on how to use MLflow, and no traceback beside the error that is raised anyway.
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    # No line with an address for every run: the bridge prints one.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Nothing is sent to MLflow's makers.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # No bars while files are sent.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A server that is down is noticed in seconds: the defaults try for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # MLflow imports GitPython, which complains where there is no Git.
    "GIT_PYTHON_REFRESH": "quiet",
}


def prepare_mlflow() -> None:
    """Set the variables that MLflow is to work with; to be called before it is imported."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
