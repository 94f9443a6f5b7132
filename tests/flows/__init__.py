"""Whole stories with the real command, a real OpenBao, real files and real processes."""
