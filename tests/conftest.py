"""Fixtures that every room of the test suite shares."""
