"""The pages: each a question, answered by panels (`dashboard.panel`)."""
