"""What an item's text says, as vectors: encoding, caching, centring and reduction. Torch-free."""
