"""Agents that cheat or are at fault, each in one way. ``CHECK`` is the check that has to name it."""

from __future__ import annotations

import builtins
import gc
import inspect
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from types import FrameType
from typing import Any

import numpy as np

import gridpilot
from gridpilot.agents import truthful, view
from gridpilot.agents.base import Agent, BatchAgent
from gridpilot.agents.registry import AGENT
from gridpilot.market import bids
from gridpilot.market.arena import Arena
from gridpilot.market.bids import Bid
from gridpilot.market.observation import MarketInfo, Observation, Outcome
from gridpilot.market.site import Site
from gridpilot.market.step import NO_BID


def arena_from(frame: FrameType | None) -> Arena | None:
    while frame is not None:
        for value in frame.f_locals.values():
            if isinstance(value, Arena):
                return value
            if isinstance(getattr(value, "arena", None), Arena):
                return value.arena
            if isinstance(getattr(value, "_arena", None), Arena):
                return value._arena
        frame = frame.f_back
    return None


def coming_price(arena: Arena | None, ahead: int = 1) -> float:
    if arena is None:
        return 0.05
    rows = arena.scenario.prices
    return float(rows[min(arena.scenario.history + arena.tick + ahead, len(rows) - 1), 0, 0])


class Valuing(Agent):
    """Values its battery by what ``worth`` says; an ordinary agent if that is honest."""

    def bid(self, observation: Observation) -> Bid:
        return observation.truthful_bid(float(self.worth(observation)))

    def worth(self, observation: Observation) -> float:
        return 0.05


# It sees what it must not see.


class PeeksByFrames(Valuing):
    CHECK = "future"

    def worth(self, observation: Observation) -> float:
        return coming_price(arena_from(sys._getframe(0)))


class LooksAtFramesForNothing(Valuing):
    CHECK = "barrier"

    def worth(self, observation: Observation) -> float:
        arena_from(sys._getframe(0))
        return 0.05


class PeeksByTheWholeStack(Valuing):
    CHECK = "barrier"

    def worth(self, observation: Observation) -> float:
        return coming_price(arena_from(inspect.stack()[0].frame))


class PeeksByTraceback(Valuing):
    CHECK = "future"

    def worth(self, observation: Observation) -> float:
        try:
            raise ValueError
        except ValueError as error:
            trace: Any = error.__traceback__
            return coming_price(arena_from(trace.tb_frame))


class PeeksByGenerator(Valuing):
    CHECK = "future"

    def worth(self, observation: Observation) -> float:
        def walk() -> Any:
            yield arena_from(generator.gi_frame)

        generator = walk()
        return coming_price(next(generator))


class PeeksByAllThreads(Valuing):
    CHECK = "future"

    def worth(self, observation: Observation) -> float:
        return coming_price(arena_from(sys._current_frames()[threading.get_ident()]))


class PeeksFromAThread(Valuing):
    CHECK = "future"

    def worth(self, observation: Observation) -> float:
        main, found = threading.get_ident(), []
        thread = threading.Thread(target=lambda: found.append(coming_price(arena_from(sys._current_frames()[main]))))
        thread.start()
        thread.join()
        return found[0]


class PeeksByGarbage(Valuing):
    CHECK = "future"

    def worth(self, observation: Observation) -> float:
        return coming_price(next((one for one in gc.get_objects() if isinstance(one, Arena)), None))


class PeeksByReferrers(Valuing):
    CHECK = "barrier"

    def worth(self, observation: Observation) -> float:
        gc.get_referrers(observation.site)
        return 0.05


class PeeksBySignal(Valuing):
    CHECK = "future"

    def worth(self, observation: Observation) -> float:
        found: list[float] = []
        before = signal.signal(signal.SIGUSR1, lambda number, frame: found.append(coming_price(arena_from(frame))))
        signal.raise_signal(signal.SIGUSR1)
        time.sleep(0)
        signal.signal(signal.SIGUSR1, before)
        return found[0]


class PeeksByProfile(Valuing):
    CHECK = "barrier"

    def worth(self, observation: Observation) -> float:
        found: list[Any] = []
        sys.setprofile(lambda frame, event, argument: found.append(frame))
        len([])
        sys.setprofile(None)
        return coming_price(arena_from(found[0]))


class PeeksByTrace(Valuing):
    CHECK = "barrier"

    def worth(self, observation: Observation) -> float:
        sys.settrace(lambda frame, event, argument: None)
        sys.settrace(None)
        return 0.05


class PeeksFarAhead(Valuing):
    CHECK = "future"

    def worth(self, observation: Observation) -> float:
        arena = arena_from(sys._getframe(0))
        assert arena is not None
        return float(arena.scenario.prices[-1, 0, 0])


class PeeksOnceInAWhile(Valuing):
    CHECK = "future"

    def worth(self, observation: Observation) -> float:
        return coming_price(arena_from(sys._getframe(0)), ahead=2) if observation.tick % 9 == 5 else 0.05


class PeeksInReset(Valuing):
    CHECK = "future"

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        arena = arena_from(sys._getframe(0))
        assert arena is not None
        self.day = arena.scenario.prices[:, 0, 0].copy()

    def worth(self, observation: Observation) -> float:
        return float(self.day[len(observation.history) :].mean()) if len(observation.history) < len(self.day) else 0.05


class PeeksInLearn(Valuing):
    CHECK = "future"
    seen = 0.05

    def learn(self, outcome: Outcome) -> None:
        self.seen = coming_price(arena_from(sys._getframe(0)), ahead=3)

    def worth(self, observation: Observation) -> float:
        return self.seen


class PeeksAtTheWeather(Valuing):
    CHECK = "future"

    def worth(self, observation: Observation) -> float:
        arena = arena_from(sys._getframe(0))
        assert arena is not None
        return float(arena.scenario.ambient[-1, 0]) / 500.0


class PeeksAtCapacity(Valuing):
    CHECK = "future"

    def worth(self, observation: Observation) -> float:
        arena = arena_from(sys._getframe(0))
        assert arena is not None
        return float(arena.scenario.capacity[-3:, 0].sum()) / 20.0


class PeeksThroughAPatch(Valuing):
    """Catches the arena in a method of its own."""

    CHECK = "outside"
    arena: Any = None

    def worth(self, observation: Observation) -> float:
        step = Arena.step
        if PeeksThroughAPatch.arena is None:

            def caught(arena: Arena) -> None:
                PeeksThroughAPatch.arena = arena
                step(arena)

            Arena.step = caught  # type: ignore[method-assign]
        return coming_price(PeeksThroughAPatch.arena)


class OnArrays(BatchAgent):
    """Values its batteries by the last price; honest as it stands."""

    reads = ("last_price",)
    writes = ("storage_value",)

    def bid(self, observation: Observation) -> Bid:
        return observation.truthful_bid(observation.last_price)

    def reset_batch(self, view: Any) -> None:
        pass

    def bid_batch(self, view: Any) -> None:
        view.orders.storage_value[:] = view.last_price[view.market]


class PeeksOnArrays(OnArrays):
    CHECK = "future"

    def bid_batch(self, view: Any) -> None:
        view.orders.storage_value[:] = coming_price(arena_from(sys._getframe(0)))


class PeeksThroughTheWindow(OnArrays):
    CHECK = "outside"

    def reset_batch(self, given: Any) -> None:
        look = view.Window.look

        def caught(window: Any, shown: Any) -> None:
            look(window, shown)
            self.arena = window._arena

        view.Window.look = caught  # type: ignore[method-assign]


class SeesRivalsBatteries(Valuing):
    CHECK = "rivals"

    def worth(self, observation: Observation) -> float:
        arena = arena_from(sys._getframe(0))
        assert arena is not None
        return float(arena.storage[0, 2:4, 0].sum()) / 1e4


class SeesRivalsMachines(Valuing):
    CHECK = "rivals"

    def worth(self, observation: Observation) -> float:
        arena = arena_from(sys._getframe(0))
        assert arena is not None
        return float(arena.machine_kw[0, 2].sum()) / 1e4


class SeesRivalsOrders(Valuing):
    CHECK = "rivals"

    def worth(self, observation: Observation) -> float:
        arena = arena_from(sys._getframe(0))
        assert arena is not None
        return float(arena.orders.storage_value[0, 3])


class SeesRivalsResults(OnArrays):
    CHECK = "rivals"

    def bid_batch(self, view: Any) -> None:
        arena = arena_from(sys._getframe(0))
        assert arena is not None
        view.orders.storage_value[:] = abs(arena.outcome[0, 2].sum()) / 1e5


class SeesRivalsPlants(Valuing):
    CHECK = "rivals"

    def worth(self, observation: Observation) -> float:
        arena = arena_from(sys._getframe(0))
        assert arena is not None
        return float(arena.sites[3].grid_kw) / 1e5


# It writes what is not its own.


class SilencesRivals(OnArrays):
    CHECK = "outside"

    def bid_batch(self, view: Any) -> None:
        arena = arena_from(sys._getframe(0))
        assert arena is not None
        arena.orders.kind[:, 2] = NO_BID


class FillsItsBattery(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        arena = arena_from(sys._getframe(0))
        assert arena is not None
        arena.storage[:, 0, 0] += 100.0
        return 0.05


class MakesPrices(Valuing):
    CHECK = "outside"

    def learn(self, outcome: Outcome) -> None:
        arena = arena_from(sys._getframe(0))
        assert arena is not None
        arena.scenario.prices[arena.scenario.history + arena.tick :, :, 0] = 0.01


class WidensItsConnection(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        object.__setattr__(observation.site, "grid_kw", 5000.0)
        return 0.05


class ChangesTheRules(Valuing):
    CHECK = "outside"

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        object.__setattr__(market.rules, "capacity_kw", 1e6)


class ReplacesTheStep(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        arena = arena_from(sys._getframe(0))
        assert arena is not None
        arena.__dict__["step"] = arena.step
        return 0.05


class PatchesBids(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        bids.check_blocks = lambda blocks, where="": np.array(blocks)
        return 0.05


class PatchesTheClassOfBids(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        Bid.__eq__ = lambda self, other: True  # type: ignore[assignment, method-assign]
        return 0.05


class PatchesARival(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        truthful.Truthful.bid = lambda self, observation: Bid([])  # type: ignore[method-assign]
        return 0.05


class PatchesCode(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        Arena.encode.__code__ = (lambda self, seats, out: None).__code__
        return 0.05


class PatchesNumpy(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        np.random.default_rng = np.random.RandomState  # type: ignore[assignment, misc]
        return 0.05


class PatchesBuiltins(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        builtins.sum = max  # type: ignore[assignment]
        return 0.05


class PatchesASmallLibrary(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        subprocess.run = lambda *given, **more: None  # type: ignore[assignment]
        return 0.05


class ReplacesAModule(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        sys.modules["gridpilot.market.clearing"] = sys.modules["gridpilot.market.bids"]
        return 0.05


class ChangesTheRegistry(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        object.__setattr__(AGENT, "group", "cheats")
        return 0.05


class ChangesConstants(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        view.READABLE = ("prices",)  # type: ignore[misc, assignment]
        return 0.05


class HidesThingsInTheLibrary(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        gridpilot.memory = [observation.tick]  # type: ignore[attr-defined]
        return 0.05


class SetsTheEnvironment(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        os.environ["MY_AGENT"] = "was here"
        return 0.05


class ChangesFolder(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        os.chdir("/")
        return 0.05


class ExtendsThePath(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        sys.path.insert(0, "/tmp/mine")
        return 0.05


class HidesWarnings(Valuing):
    CHECK = "outside"

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        warnings.simplefilter("ignore")


class SilencesNumpy(Valuing):
    CHECK = "outside"

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        np.seterr(all="ignore")


class DisarmsTheDeadline(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return 0.05


class StopsTheCollector(Valuing):
    CHECK = "outside"

    def worth(self, observation: Observation) -> float:
        gc.disable()
        return 0.05


# Files, network, programs.


class WritesAFile(Valuing):
    CHECK = "files"

    def learn(self, outcome: Outcome) -> None:
        with open("memory.json", "w") as file:
            json.dump(outcome.profit, file)


class WritesBelow(Valuing):
    CHECK = "files"

    def learn(self, outcome: Outcome) -> None:
        os.close(os.open("/tmp/../var/tmp/gridpilot-memory", os.O_CREAT | os.O_WRONLY))
        os.remove("/var/tmp/gridpilot-memory")


class LogsToAFile(Valuing):
    CHECK = "files"

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        logging.FileHandler("my_agent.log").close()


class AsksTheNetwork(Valuing):
    CHECK = "files"

    def worth(self, observation: Observation) -> float:
        with socket.socket() as one:
            one.settimeout(0.01)
            return 0.05 + (one.connect_ex(("127.0.0.1", 9)) == 0)


class StartsAProgram(Valuing):
    CHECK = "files"

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        subprocess.run(["true"], check=False)


class Forks(Valuing):
    CHECK = "files"

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)


# Random numbers, and what else changes from play to play.


class DrawsFromRandom(Valuing):
    CHECK = "random"

    def worth(self, observation: Observation) -> float:
        return 0.1 * random.random()


class DrawsFromNumpy(Valuing):
    CHECK = "random"

    def worth(self, observation: Observation) -> float:
        return float(np.random.uniform(0.0, 0.1))


class SeedsEverybody(Valuing):
    CHECK = "random"

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        np.random.seed(seed % 2**32)


class HasNoSeed(Valuing):
    CHECK = "seeds"

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        self.generator = np.random.default_rng()

    def worth(self, observation: Observation) -> float:
        return float(self.generator.uniform(0.0, 0.1))


class AsksTheSystem(Valuing):
    CHECK = "seeds"

    def worth(self, observation: Observation) -> float:
        return os.urandom(1)[0] / 2560.0


class GoesByTheStopwatch(Valuing):
    CHECK = "seeds"

    def worth(self, observation: Observation) -> float:
        return time.perf_counter() % 0.1


class GoesByTheProcess(Valuing):
    CHECK = "seeds"

    def worth(self, observation: Observation) -> float:
        return os.getpid() % 997 / 1e4


class GoesByTheClock(Valuing):
    CHECK = "elsewhere"

    def worth(self, observation: Observation) -> float:
        return time.time() // 86400.0 % 97 / 1e3


class GoesByTheHashSeed(Valuing):
    CHECK = "elsewhere"

    def worth(self, observation: Observation) -> float:
        return hash("gridpilot") % 97 / 1e3


class DrawsFromItsBirth(Valuing):
    """One generator for all episodes."""

    CHECK = "reset"

    def __init__(self) -> None:
        self.generator = np.random.default_rng(0)

    def worth(self, observation: Observation) -> float:
        return float(self.generator.uniform(0.0, 0.1))


class Remembers(Valuing):
    CHECK = "reset"
    ticks = 0

    def worth(self, observation: Observation) -> float:
        self.ticks += 1
        return self.ticks / 1e4


class RemembersOnArrays(OnArrays):
    CHECK = "reset"
    best = 0.0

    def bid_batch(self, view: Any) -> None:
        self.best = max(self.best, float(view.last_price.max()))
        view.orders.storage_value[:] = self.best


class RemembersForAll(Valuing):
    CHECK = "batch"
    count = 0

    def worth(self, observation: Observation) -> float:
        if observation.tick == 0 and observation.market.seat == 0:
            RemembersForAll.count = 0
        RemembersForAll.count += 1
        return RemembersForAll.count / 1e4


class CountsMarkets(OnArrays):
    CHECK = "batch"

    def bid(self, observation: Observation) -> Bid:
        return observation.truthful_bid(0.04)

    def bid_batch(self, view: Any) -> None:
        view.orders.storage_value[:] = 0.02 * view.n_markets


class LearnsFromOtherMarkets(OnArrays):
    CHECK = "batch"

    def bid_batch(self, view: Any) -> None:
        view.orders.storage_value[:] = view.last_price.mean()


class TwoAgentsInOne(OnArrays):
    CHECK = "arrays"

    def bid(self, observation: Observation) -> Bid:
        return observation.truthful_bid(observation.last_price * 0.5)


# It fails.


class RaisesItsPrices(Valuing):
    CHECK = "valid"

    def bid(self, observation: Observation) -> Bid:
        return Bid([(10.0, 0.01), (10.0, 0.02)])


class StatesTooManyBlocks(Valuing):
    CHECK = "valid"

    def bid(self, observation: Observation) -> Bid:
        return Bid([(1.0, 0.1)] * 60)


class AsksForTooMuch(Valuing):
    CHECK = "valid"

    def bid(self, observation: Observation) -> Bid:
        return Bid([(1e5, 0.1)])


class AnswersNothing(Valuing):
    CHECK = "valid"

    def bid(self, observation: Observation) -> Bid:
        return None  # type: ignore[return-value]


class Exits(Valuing):
    CHECK = "valid"

    def worth(self, observation: Observation) -> float:
        sys.exit(0)


class FailsNowAndThen(Valuing):
    CHECK = "valid"

    def worth(self, observation: Observation) -> float:
        return 0.05 / (observation.tick - 5)


class BidsInfinity(OnArrays):
    CHECK = "valid"

    def bid_batch(self, view: Any) -> None:
        view.orders.storage_value[:] = np.inf


class TakesLogarithms(Valuing):
    CHECK = "inputs"

    def worth(self, observation: Observation) -> float:
        with np.errstate(all="ignore"):
            return float(np.log(observation.prices[0]))


class NeedsAPast(Valuing):
    CHECK = "inputs"

    def worth(self, observation: Observation) -> float:
        return float(observation.history[-3, 0])


class NeedsMachines(Valuing):
    CHECK = "inputs"

    def worth(self, observation: Observation) -> float:
        return 10.0 / observation.site.fleet[0].capacity_kw


class CannotBePickled(Valuing):
    CHECK = "pickle"

    def __init__(self) -> None:
        self.rule = lambda price: 0.9 * price

    def worth(self, observation: Observation) -> float:
        return float(self.rule(observation.last_price))


class ForgetsWhenPickled(Valuing):
    CHECK = "pickle"
    ticks = 0

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        self.ticks = 0

    def worth(self, observation: Observation) -> float:
        self.ticks += 1
        return self.ticks / 1e3


class ForgetsWhenCopied(ForgetsWhenPickled):
    CHECK = "pickle"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def __deepcopy__(self, memory: Any) -> Any:
        return type(self)()


class ThinksForLong(Valuing):
    CHECK = "deadline"

    def worth(self, observation: Observation) -> float:
        time.sleep(3.0)
        return 0.05


class ThinksForLongAtTimes(Valuing):
    CHECK = "deadline"

    def worth(self, observation: Observation) -> float:
        time.sleep(3.0 if observation.tick == 7 else 0.0)
        return 0.05


class ResetsForLong(Valuing):
    CHECK = "deadline"

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        time.sleep(60.0)


class NeverEnds(Valuing):
    CHECK = "deadline"

    def worth(self, observation: Observation) -> float:
        while True:
            try:
                time.sleep(1.0)
            except BaseException:
                continue


class EatsMemory(Valuing):
    CHECK = "resources"

    def worth(self, observation: Observation) -> float:
        self.eaten = [np.zeros(1 << 26) for _ in range(8)]
        return 0.05


class Dies(Valuing):
    CHECK = "resources"

    def worth(self, observation: Observation) -> float:
        os._exit(0)


class CrashesAtExtremePrices(Valuing):
    CHECK = "resources"

    def worth(self, observation: Observation) -> float:
        if observation.prices[0] > 10.0:
            os.abort()
        return 0.05


class LeavesAThread(Valuing):
    CHECK = "resources"

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        threading.Thread(target=time.sleep, args=(60.0,), daemon=True).start()


PLANTED = {name: one.CHECK for name, one in list(globals().items()) if isinstance(one, type) and "CHECK" in vars(one)}
