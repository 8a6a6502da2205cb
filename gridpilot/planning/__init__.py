"""Planners: what a site should do over the coming day, and what a stored kWh and a running machine are worth to it now."""

from __future__ import annotations

from gridpilot.planning.base import Outlook, Plan, Planner
from gridpilot.planning.convex import ConvexReference
from gridpilot.planning.dynamic import DynamicProgramme
from gridpilot.planning.ladder import Ladder
from gridpilot.planning.linear import LinearProgramme
from gridpilot.planning.linear_cvar import CVaRProgramme

__all__ = ["CVaRProgramme", "ConvexReference", "DynamicProgramme", "Ladder", "LinearProgramme", "Outlook", "Plan", "Planner"]
