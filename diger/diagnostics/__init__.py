"""What joint training does to the SIDs, measured while it happens."""
