"""Real servers for tests: each brought up on a free port and taken down again."""
