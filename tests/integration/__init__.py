"""Tests over real servers, sockets and processes."""
