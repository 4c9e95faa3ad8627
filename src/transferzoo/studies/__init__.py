"""Studies: several runs on the same footing, and what follows from them."""
