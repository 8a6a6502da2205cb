"""The compiled part of the feature pipeline: everything but TA-Lib's indicators and the wavelets.

All values are computed anew from the window of the last 7 days, newest first: no running sum can drift, what is older cannot matter, and
a batch, which runs the same code row by row, is bitwise equal to a stream. Sums are taken of prices relative to the newest one, so that
they lose nothing to cancellation where prices hardly move. Every quotient has the newest price's window in its denominator, and is
therefore bounded, or a stated value for 0 / 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.market.compilation import inline_kernel, kernel

__all__ = ["Windows", "calendar_features", "channel_features", "pair_features", "push"]

LARGEST = 1e15  # |price| is cut to it, as the stream does: squares stay finite
LEAST = 1e-12  # of a denominator, in levels; below it a quotient is 0 / 0


class Windows(NamedTuple):
    """The table's windows in steps."""

    day: int  # steps of a day
    lags: npt.NDArray[np.int64]  # STEPS and LAG_HOURS
    ranges: npt.NDArray[np.int64]  # RANGE_HOURS, increasing
    ahead: npt.NDArray[np.int64]  # AHEAD_HOURS
    pairs: npt.NDArray[np.int64]  # PAIR_HOURS


@inline_kernel
def _ratio(a, b, otherwise):  # type: ignore[no-untyped-def]
    return a / b if b > LEAST else otherwise


@inline_kernel
def _root(x):  # type: ignore[no-untyped-def]
    return math.sqrt(max(x, 0.0))


@kernel
def push(x, end, prices):  # type: ignore[no-untyped-def]
    """Append ``prices`` (C,) to the history ``x`` (C, 2W) whose newest column is ``end`` (-1: none); the new ``end``."""
    length = x.shape[1] // 2
    if end < 0:
        for c in range(len(x)):
            first = prices[c] if math.isfinite(prices[c]) else 0.0
            first = min(max(first, -LARGEST), LARGEST)
            for k in range(length):
                x[c, k] = first
        return length - 1
    if end == x.shape[1] - 1:
        for c in range(len(x)):
            for k in range(length):
                x[c, k] = x[c, k + length]
        end = length - 1
    for c in range(len(x)):
        x[c, end + 1] = min(max(prices[c], -LARGEST), LARGEST) if math.isfinite(prices[c]) else x[c, end]
    return end + 1


@kernel
def calendar_features(step, day, out):  # type: ignore[no-untyped-def]
    """Fill ``out[:16]``."""
    j = 0
    for k in range(1, 5):
        angle = 2.0 * math.pi * k * (step % day) / day
        out[j], out[j + 1] = math.sin(angle), math.cos(angle)
        j += 2
    for k in range(1, 4):
        angle = 2.0 * math.pi * k * (step % (7 * day)) / (7 * day)
        out[j], out[j + 1] = math.sin(angle), math.cos(angle)
        j += 2
    out[j] = (step % day) * 24.0 / day
    out[j + 1] = 1.0 if step // day % 7 >= 5 else 0.0


@kernel
def channel_features(x, end, w, u, d, s, out, j):  # type: ignore[no-untyped-def]
    """Fill ``out`` from ``j`` on for each channel, ``j[c]``. ``u`` and ``d`` (C, W) newest first and ``s`` (4, W) are work space."""
    for c in range(len(x)):
        level = _prepare(x, end, c, u, d, s)
        at = _levels_and_returns(u, s, level, c, w, out, j[c])
        at = _volatility(u, d, s, c, w, out, at)
        at = _ranges(u, d, c, w, out, at)
        at = _regimes(u, d, s, c, w, out, at)
        _seasons(u, c, w, out, at)


@kernel
def _prepare(x, end, c, u, d, s):  # type: ignore[no-untyped-def]
    """Prices in levels and their changes; sums over the newest k + 1 prices of v, v^2, |u|, and over k changes of d^2; v = u - u[0]."""
    n = u.shape[1]
    level = 0.0
    for k in range(n):
        level += abs(x[c, end - k])
    level /= n
    scale = 1.0 / level if level > 1e-200 else 0.0
    for k in range(n):
        u[c, k] = x[c, end - k] * scale
    a = b = e = f = 0.0
    newest = u[c, 0]
    for k in range(n):
        v = u[c, k] - newest
        a += v
        b += v * v
        e += abs(u[c, k])
        s[0, k], s[1, k], s[2, k], s[3, k] = a, b, e, f
        d[c, k] = u[c, k] - u[c, k + 1] if k + 1 < n else 0.0
        f += d[c, k] * d[c, k]
    return level


@kernel
def _levels_and_returns(u, s, level, c, w, out, j):  # type: ignore[no-untyped-def]
    now = u[c, 0]
    out[j] = now
    out[j + 1] = math.log10(max(level, 1e-9))
    j += 2
    for lag in w.lags:
        out[j] = u[c, lag]
        j += 1
    for lag in w.lags:
        out[j] = _ratio((now - u[c, lag]) * (lag + 1), s[2, lag], 0.0)
        j += 1
    for lag in (1, max(1, w.day // 24), w.day):
        out[j] = math.asinh(4.0 * now) - math.asinh(4.0 * u[c, lag])
        j += 1
    for n in w.ranges:
        out[j] = -s[0, n] / (n + 1)
        j += 1
    for n in (w.day, 7 * w.day):
        mean = s[0, n] / (n + 1)
        out[j] = _ratio(-mean, _root(s[1, n] / (n + 1) - mean * mean), 0.0)
        j += 1
    return j


@kernel
def _volatility(u, d, s, c, w, out, j):  # type: ignore[no-untyped-def]
    first = j
    for n in w.ranges:
        out[j] = math.sqrt(s[3, n] / n)
        j += 1
    hour, six, day, week = out[first], out[first + 2], out[first + 3], out[first + 4]
    out[j] = _ratio(hour, day, 1.0)
    out[j + 1] = _ratio(six, week, 1.0)
    out[j + 2] = _ratio(day, week, 1.0)
    out[j + 3] = 1.0 if hour > 2.0 * week else 0.0
    out[j + 4] = 1.0 if six < 0.5 * week else 0.0
    j += 5
    n = w.day
    rises = cubes = fourths = products = sizes = squares = returns = 0.0
    step = max(1, n // 24)
    for k in range(n):
        q = d[c, k] * d[c, k]
        if d[c, k] > 0.0:
            rises += q
        cubes += q * d[c, k]
        fourths += q * q
        products += d[c, k] * d[c, k + 1]
        sizes += abs(d[c, k] * d[c, k + 1])
        squares += q * d[c, k + 1] * d[c, k + 1]
        returns += (u[c, k] - u[c, k + step]) ** 2
    total = s[3, n]
    if total / n > LEAST * LEAST:
        mean = total / n
        spread = fourths / n - mean * mean
        before = mean + (d[c, n] * d[c, n] - d[c, 0] * d[c, 0]) / n  # mean of d[1]^2
        out[j] = min(max(1.0 - 0.5 * math.pi * sizes / total, 0.0), 1.0)
        out[j + 1] = rises / total
        out[j + 2] = cubes / n / mean**1.5
        out[j + 3] = fourths / n / (mean * mean)
        out[j + 4] = min(max(products / total, -float(n)), float(n))
        out[j + 5] = min(max((squares / n - mean * before) / spread, -1.0), 1.0) if spread > 1e-9 * mean * mean else 0.0
        out[j + 6] = returns / n / (step * mean)
        if not math.isfinite(out[j + 2]) or not math.isfinite(out[j + 3]):
            out[j + 2], out[j + 3] = 0.0, 0.0
    else:
        for k in range(7):
            out[j + k] = 0.0
        out[j + 1] = 0.5
        out[j + 6] = 1.0
    out[j + 7] = _correlation(u, u, c, c, 0, n, 6 * n + 1)
    return j + 8


@kernel
def _correlation(a, b, c, e, i, k, n):  # type: ignore[no-untyped-def]
    """Correlation of ``a[c, i:i + n]`` with ``b[e, k:k + n]``, 0 where one of them is constant."""
    p, q = a[c, i], b[e, k]
    x = y = xx = yy = xy = 0.0
    for t in range(n):
        v, z = a[c, i + t] - p, b[e, k + t] - q
        x += v
        y += z
        xx += v * v
        yy += z * z
        xy += v * z
    xx -= x * x / n
    yy -= y * y / n
    floor = LEAST * LEAST * n
    if xx <= floor or yy <= floor:
        return 0.0
    return min(max((xy - x * y / n) / math.sqrt(xx) / math.sqrt(yy), -1.0), 1.0)


@inline_kernel
def _rank(less, equal, n):  # type: ignore[no-untyped-def]
    return (less + 0.5 * equal) / n


@kernel
def _ranges(u, d, c, w, out, j):  # type: ignore[no-untyped-def]
    now = u[c, 0]
    low = high = now
    done = 0
    for r in range(len(w.ranges)):
        for k in range(done, w.ranges[r] + 1):
            low, high = min(low, u[c, k]), max(high, u[c, k])
        done = w.ranges[r] + 1
        out[j + r] = high - low
        out[j + 5 + r] = _ratio(now - low, high - low, 0.5)
        out[j + 10 + r] = math.log10(max(high - low, 1e-6))
    j += 15
    less = equal = k = 0
    for n in (w.day // 4, w.day, 7 * w.day):
        while k <= n:
            if u[c, k] < now:
                less += 1
            elif u[c, k] == now:
                equal += 1
            k += 1
        out[j] = _rank(less, equal, n + 1)
        j += 1
    less = equal = 0
    for k in range(0, 7 * w.day + 1, w.day):
        if u[c, k] < now:
            less += 1
        elif u[c, k] == now:
            equal += 1
    out[j] = _rank(less, equal, 8)
    path = 0.0
    for k in range(w.day):
        path += abs(d[c, k])
        if k + 1 == w.day // 4:
            out[j + 1] = _ratio(abs(now - u[c, k + 1]), path, 0.0)
    out[j + 2] = _ratio(abs(now - u[c, w.day]), path, 0.0)
    j += 3
    for n in (w.day // 8, w.day):
        middle = 0.5 * n
        up = down = 0.0
        for k in range(n + 1):
            up += (middle - k) * (u[c, k] - now)
            down += (middle - k) ** 2
        out[j] = up / down * w.day / 24.0
        j += 1
    return j


@kernel
def _regimes(u, d, s, c, w, out, j):  # type: ignore[no-untyped-def]
    n = 7 * w.day
    mean = s[0, n] / (n + 1)
    bound = 3.0 * _root(s[1, n] / (n + 1) - mean * mean) + 1e-9
    spikes = negatives = unchanged = 0
    last_spike = last_negative = n
    for k in range(n, -1, -1):
        if abs(u[c, k] - u[c, 0] - mean) > bound:
            last_spike = k
            if k <= w.day:
                spikes += 1
        if u[c, k] < 0.0:
            last_negative = k
            negatives += 1
        if k == w.day + 1:
            older = negatives
    out[j] = 1.0 if last_spike == 0 else 0.0
    out[j + 1] = spikes / (w.day + 1.0)
    out[j + 2] = math.log(1.0 + last_spike * 24.0 / w.day)
    out[j + 3] = 1.0 if last_negative == 0 else 0.0
    out[j + 4] = (negatives - older) / (w.day + 1.0)
    out[j + 5] = negatives / (n + 1.0)
    out[j + 6] = math.log(1.0 + last_negative * 24.0 / w.day)
    run = 0
    going = True
    for k in range(w.day):
        if d[c, k] == 0.0:
            unchanged += 1
        going = going and d[c, k] * d[c, 0] > 0.0
        if going:
            run += 1
    out[j + 7] = unchanged / w.day
    out[j + 8] = run if d[c, 0] > 0.0 else -run
    return j + 9


@kernel
def _seasons(u, c, w, out, j):  # type: ignore[no-untyped-def]
    now = u[c, 0]
    for days in (1, 7):
        for k in w.ahead:
            out[j] = u[c, days * w.day - k] - u[c, days * w.day]
            j += 1
    total = 0.0
    for day in range(1, 8):
        total += u[c, day * w.day] - now
    out[j] = total / 7.0
    j += 1
    for k in w.ahead:
        total = 0.0
        for day in range(1, 8):
            total += u[c, day * w.day - k] - now
        out[j] = total / 7.0
        j += 1
    return j


@inline_kernel
def _share(a, b):  # type: ignore[no-untyped-def]
    return _ratio(a, abs(a) + abs(b), 0.5)


@kernel
def pair_features(u, d, w, out, j):  # type: ignore[no-untyped-def]
    """Fill ``out`` from ``j`` on with 9 features of each pair of channels."""
    n = w.day
    for a in range(len(u)):
        for b in range(a + 1, len(u)):
            spread = u[a, 0] - u[b, 0]
            out[j] = _share(u[a, 0], u[b, 0])
            out[j + 1] = out[j] - _share(u[a, n], u[b, n])
            out[j + 2] = spread
            total = squares = 0.0
            for k in range(n + 1):
                v = u[a, k] - u[b, k] - spread
                total += v
                squares += v * v
            mean = total / (n + 1)
            out[j + 3] = _ratio(-mean, _root(squares / (n + 1) - mean * mean), 0.0)
            out[j + 4] = math.log10(max(abs(spread), 1e-6))
            j += 5
            for k in w.pairs:
                out[j] = _correlation(d, d, a, b, 0, 0, k)
                j += 1
            out[j] = _correlation(d, d, a, b, 0, 1, n)
            out[j + 1] = _correlation(d, d, a, b, 1, 0, n)
            j += 2
