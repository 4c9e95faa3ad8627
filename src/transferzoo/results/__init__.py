"""What runs leave behind, checked and compared."""
