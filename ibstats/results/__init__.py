"""What an analysis says: rows, the comparison of two, and the claims of the paper beside them."""
