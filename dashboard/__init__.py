"""The Streamlit dashboard: is differentiable better, where, and can I trust it? No torch."""
