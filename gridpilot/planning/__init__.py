"""Planners: what a site should do over the coming day, and what a stored kWh and a running machine are worth to it now."""

from __future__ import annotations

from gridpilot.planning.base import Outlook, Plan, Planner

__all__ = ["Outlook", "Plan", "Planner"]
