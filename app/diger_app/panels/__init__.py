"""One tab a module: its components, and the function that fills them. `page` wires them."""
