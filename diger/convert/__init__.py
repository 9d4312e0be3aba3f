"""What DIGER's authors released, brought into this project's own files: data and checkpoints."""
