"""Random streams for compiled kernels: numpy's ``SFC64`` seeded by numpy's ``SeedSequence``, bit for bit.

A stream is a ``(4,)`` uint64 array. ``seed_stream(root, episode, stream, state)`` sets it to the state of

    np.random.Generator(np.random.SFC64(np.random.SeedSequence(root, spawn_key=(episode, stream))))

so an episode shows the same world to every line-up, and no result depends on the batch, the chunk, the thread or the process that
computed it. The streams of an episode are

    0      prices
    1      weather
    2      capacity
    3 + n  the agent in seat n

``next_uint64`` and ``uniform`` return exactly what the generator's ``random_raw`` and ``random`` return. ``normal`` is the ziggurat of
Marsaglia and Tsang (2000), "The ziggurat method for generating random variables", on 52 random bits; ``gamma`` is Marsaglia and Tsang
(2000), "A simple method for generating gamma variables". Both are exact rejection methods.

A trap of numba for those who edit this file: an operation on uint64 and int64 gives float64, so every constant is a ``np.uint64``.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gridpilot.market.compilation import inline_kernel, kernel, leaf_kernel

__all__ = [
    "AGENT_STREAM",
    "CAPACITY_STREAM",
    "PRICE_STREAM",
    "WEATHER_STREAM",
    "chi_square",
    "gamma",
    "next_uint64",
    "normal",
    "seed_stream",
    "seed_streams",
    "uniform",
]

PRICE_STREAM, WEATHER_STREAM, CAPACITY_STREAM = 0, 1, 2
AGENT_STREAM = 3  # + the seat

_U = np.uint64
_LOW = _U(0xFFFFFFFF)
_INIT_A, _MULT_A = _U(0x43B0D7E5), _U(0x931E8875)
_INIT_B, _MULT_B = _U(0x8B51F9DD), _U(0x58F38DED)
_MIX_L, _MIX_R = _U(0xCA01F9DD), _U(0x4973F715)
_S0, _S1, _S3, _S8, _S9, _S11, _S16, _S17, _S24, _S32, _S40 = (_U(n) for n in (0, 1, 3, 8, 9, 11, 16, 17, 24, 32, 40))
_LAYER = _U(0xFF)
_MANTISSA = _U(0x000FFFFFFFFFFFFF)
_TO_UNIT = 1.0 / 9007199254740992.0  # 2**-53

_TAIL_START = 3.6541528853610088  # where the tail of the 256-layer ziggurat begins (Marsaglia and Tsang 2000)


def _ziggurat() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Layers of equal area under exp(-x^2/2): acceptance bounds (256,), widths per unit of 2**52 (256,) and heights (256,)."""

    def density(x: float) -> float:
        return math.exp(-0.5 * x * x)

    area = _TAIL_START * density(_TAIL_START) + math.sqrt(math.pi / 2.0) * math.erfc(_TAIL_START / math.sqrt(2.0))
    edge = [0.0] * 257  # edge[i] is the right end of layer i; layer 0 stands for the base strip with the tail
    edge[256] = area / density(_TAIL_START)
    edge[255] = _TAIL_START
    for i in range(254, 0, -1):
        edge[i] = math.sqrt(-2.0 * math.log(area / edge[i + 1] + density(edge[i + 1])))
    bound = np.zeros(256, dtype=np.uint64)
    width, height = np.zeros(256), np.zeros(256)
    bound[0] = _U(int(edge[255] / edge[256] * 2.0**52))
    width[0], height[0] = edge[256] / 2.0**52, 1.0
    for i in range(1, 256):
        bound[i] = _U(int(edge[i - 1] / edge[i] * 2.0**52))
        width[i], height[i] = edge[i] / 2.0**52, density(edge[i])
    return bound, width, height


_BOUND, _WIDTH, _HEIGHT = _ziggurat()


@leaf_kernel
def _hash(value, constant):  # type: ignore[no-untyped-def]
    """One step of SeedSequence's hash of 32-bit words: the hashed word and the next constant."""
    value = (value ^ constant) & _LOW
    constant = (constant * _MULT_A) & _LOW
    value = (value * constant) & _LOW
    return value ^ (value >> _S16), constant


@leaf_kernel
def _mix(x, y):  # type: ignore[no-untyped-def]
    result = (_MIX_L * x - _MIX_R * y) & _LOW
    return result ^ (result >> _S16)


@kernel
def seed_stream(root, episode, stream, state):  # type: ignore[no-untyped-def]
    """Set ``state`` (4,) uint64 to stream ``stream`` of ``episode`` under ``root``.

    ``root`` is a uint64 (any whole number from 0 to 2**64 - 1), ``episode`` and ``stream`` are whole numbers >= 0.
    """
    word = np.zeros(8, dtype=np.uint64)
    word[0] = _U(root) & _LOW
    word[1] = _U(root) >> _S32
    n = 4  # numpy pads the root to the pool's four words before a spawn key is appended
    for key in (_U(episode), _U(stream)):
        word[n] = key & _LOW
        n += 1
        if key >> _S32 != _S0:
            word[n] = key >> _S32
            n += 1
    pool = np.zeros(4, dtype=np.uint64)
    constant = _INIT_A
    for i in range(4):
        pool[i], constant = _hash(word[i], constant)
    for i in range(4):
        for j in range(4):
            if i != j:
                hashed, constant = _hash(pool[i], constant)
                pool[j] = _mix(pool[j], hashed)
    for i in range(4, n):
        for j in range(4):
            hashed, constant = _hash(word[i], constant)
            pool[j] = _mix(pool[j], hashed)
    constant = _INIT_B
    for i in range(6):
        value = pool[i % 4] ^ constant
        constant = (constant * _MULT_B) & _LOW
        value = (value * constant) & _LOW
        value ^= value >> _S16
        if i % 2 == 0:
            state[i // 2] = value
        else:
            state[i // 2] |= value << _S32
    state[3] = _S1
    for _ in range(12):
        next_uint64(state)


@inline_kernel
def next_uint64(state):  # type: ignore[no-untyped-def]
    """The stream's next 64 random bits (SFC64, Chris Doty-Humphrey's PractRand)."""
    result = state[0] + state[1] + state[3]
    state[3] += _S1
    state[0] = state[1] ^ (state[1] >> _S11)
    state[1] = state[2] + (state[2] << _S3)
    state[2] = ((state[2] << _S24) | (state[2] >> _S40)) + result
    return result


@inline_kernel
def uniform(state):  # type: ignore[no-untyped-def]
    """A double in [0, 1), a multiple of 2**-53, as numpy's ``Generator.random``."""
    return np.float64(next_uint64(state) >> _S11) * _TO_UNIT


@inline_kernel
def normal(state):  # type: ignore[no-untyped-def]
    """A standard normal double, exact up to the 52 random bits it is made of."""
    while True:
        bits = next_uint64(state)
        layer = np.int64(bits & _LAYER)
        mantissa = (bits >> _S9) & _MANTISSA
        x = np.float64(np.int64(mantissa)) * _WIDTH[layer]
        if (bits >> _S8) & _S1 != _S0:
            x = -x
        if mantissa < _BOUND[layer]:
            return x  # 99.3 % of draws end here
        if layer == 0:
            x = _normal_tail(state)
            return -x if (bits >> _S17) & _S1 != _S0 else x
        if _HEIGHT[layer] + uniform(state) * (_HEIGHT[layer - 1] - _HEIGHT[layer]) < math.exp(-0.5 * x * x):
            return x


@leaf_kernel
def _normal_tail(state):  # type: ignore[no-untyped-def]
    """A normal beyond the ziggurat's last edge, after Marsaglia (1964)."""
    while True:
        x = -math.log1p(-uniform(state)) / _TAIL_START
        y = -math.log1p(-uniform(state))
        if y + y > x * x:
            return _TAIL_START + x


@leaf_kernel
def gamma(state, shape):  # type: ignore[no-untyped-def]
    """A gamma variable of ``shape`` >= 1 and scale 1."""
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        x = normal(state)
        v = 1.0 + c * x
        if v <= 0.0:
            continue
        v = v * v * v
        u = 1.0 - uniform(state)  # in (0, 1], so that its logarithm is finite
        if u < 1.0 - 0.0331 * (x * x) * (x * x) or math.log(u) < 0.5 * x * x + d * (1.0 - v + math.log(v)):
            return d * v


@leaf_kernel
def chi_square(state, degrees):  # type: ignore[no-untyped-def]
    """A chi-square variable with ``degrees`` >= 2 degrees of freedom."""
    return 2.0 * gamma(state, 0.5 * degrees)


@kernel
def seed_streams(seeds: npt.NDArray[np.uint64], streams: npt.NDArray[np.uint64]) -> None:
    """Set ``streams (M, 4)`` to those of agents with these ``seeds (M,)``: what ``gridpilot.agents.base.generator`` draws from."""
    for i in range(len(seeds)):
        seed_stream(seeds[i], 0, 0, streams[i])
