"""Plain values to HTML. All text from data passes through `text.esc`."""
