"""Pure and quick tests."""
