"""Countries and their cities."""
