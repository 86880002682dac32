"""What the documentation takes from the code, and how its examples are run."""
