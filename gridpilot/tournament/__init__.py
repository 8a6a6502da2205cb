"""Tournaments: schedules, runners, statistics, reports."""
