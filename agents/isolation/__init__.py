"""Agents in processes of their own, which see observations, send bids, and reach nothing else.

``isolated`` gives the players of an agent that a process hosts. They behave as those in this process do, to the digit; what an agent
does to the interpreter, to memory or to itself harms that process alone and counts against its seats. The process

* is a fresh interpreter: it shares no memory, no open file and no secret of the environment with this one;
* may use so much memory, and the CPU time that its time limits add up to; between questions it stands still;
* cannot start, signal, trace or inspect another process, nor open a network connection (on Linux; elsewhere it could);
* ends with this process, however that ends.

What comes from it is numbers of a fixed form (:mod:`gridpilot.agents.isolation.wire`), checked as any bid is. It is no guard against
files: the agent reads and writes those that the user may.
"""

from gridpilot.agents.isolation.confinement import Limits
from gridpilot.agents.isolation.players import end_idle, facts_of, isolated, report_of
from gridpilot.agents.isolation.process import Ended
from gridpilot.agents.isolation.wire import Facts, Report

__all__ = ["Ended", "Facts", "Limits", "Report", "end_idle", "facts_of", "isolated", "report_of"]
