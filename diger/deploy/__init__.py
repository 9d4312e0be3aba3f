"""The app or the dashboard as a Space on the Hugging Face Hub: put together, tried, sent."""

from diger.deploy.folder import Built, build
from diger.deploy.local import check_locally
from diger.deploy.space import deploy, host_of, secrets_by_name
from diger.deploy.window import WINDOWS, Window

__all__ = [
    "WINDOWS",
    "Built",
    "Window",
    "build",
    "check_locally",
    "deploy",
    "host_of",
    "secrets_by_name",
]
