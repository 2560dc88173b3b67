"""Plain, slow definitions: loops, no cleverness. What the fast kernels must equal."""

from __future__ import annotations

from itertools import combinations, permutations, product

import mpmath as mp
import numpy as np
from scipy import optimize, stats


def mean_pairwise_squared(phi: np.ndarray) -> float:
    pairs = list(combinations(range(len(phi)), 2))
    return sum(float(((phi[i] - phi[j]) ** 2).sum()) for i, j in pairs) / len(pairs)


def vendi(K: np.ndarray, q: float) -> float:
    weights = [w for w in np.linalg.eigvalsh(K / np.trace(K)) if w > 1e-12]
    if q == 1:
        return float(np.exp(-sum(w * np.log(w) for w in weights)))
    return float(sum(w**q for w in weights) ** (1 / (1 - q)))


def contrast(cells: np.ndarray, subset: tuple[int, ...]) -> float:
    """Sum over cells of the product of +-1 codes of the factors, times the cell, over 2^(k-1)."""
    total = 0.0
    for levels in product((0, 1), repeat=cells.ndim):
        sign = 1
        for factor in subset:
            sign *= 1 if levels[factor] else -1
        total += sign * cells[levels]
    return total / 2 ** (cells.ndim - 1)


def dividend(cells: np.ndarray, subset: tuple[int, ...]) -> float:
    """Inclusion-exclusion over subsets T of S: (-1)^(|S|-|T|) times the cell with T high."""
    total = 0.0
    for size in range(len(subset) + 1):
        for high in combinations(subset, size):
            levels = tuple(int(i in high) for i in range(cells.ndim))
            total += (-1) ** (len(subset) - size) * cells[levels]
    return total


def shapley(cells: np.ndarray) -> list[float]:
    """Mean over all orders of the step that each factor makes when it is switched to high."""
    k = cells.ndim
    share = [0.0] * k
    orders = list(permutations(range(k)))
    for order in orders:
        levels = [0] * k
        for factor in order:
            before = cells[tuple(levels)]
            levels[factor] = 1
            share[factor] += (cells[tuple(levels)] - before) / len(orders)
    return share


def sign_flip(values: np.ndarray) -> tuple[list[float], list[float]]:
    """p per column and max-|t| adjusted p by trying every sign pattern."""
    n, m = values.shape

    def statistic(x: np.ndarray) -> list[float]:
        return [abs(c.mean()) / (c.std(ddof=1) / np.sqrt(n)) for c in x.T]

    observed = statistic(values)
    tables = [statistic(values * np.array(signs)[:, None]) for signs in product((1, -1), repeat=n)]
    single = [sum(t[j] >= observed[j] - 1e-9 for t in tables) / len(tables) for j in range(m)]
    family = [sum(max(t) >= observed[j] - 1e-9 for t in tables) / len(tables) for j in range(m)]
    return single, family


def entropy(counts: list[int], estimator: str, K: int | None = None) -> float:
    """Each estimator as its paper writes it, at 60 digits, in bits."""
    with mp.workdps(60):
        return float(_ENTROPIES[estimator]([c for c in counts if c > 0], K) / mp.log(2))


def _plugin(counts: list[int], K: int | None = None) -> mp.mpf:
    n = mp.mpf(sum(counts))
    return -sum(c / n * mp.log(c / n) for c in counts)


def _miller_madow(counts: list[int], K: int | None) -> mp.mpf:
    return _plugin(counts) + mp.mpf(len(counts) - 1) / (2 * sum(counts))


def _jackknife(counts: list[int], K: int | None) -> mp.mpf:
    n = sum(counts)
    total = mp.mpf(0)
    for i, c in enumerate(counts):
        left = [x - (j == i) for j, x in enumerate(counts)]
        total += c * _plugin([x for x in left if x > 0])
    return n * _plugin(counts) - mp.mpf(n - 1) / n * total


def _grassberger(counts: list[int], K: int | None) -> mp.mpf:
    def G(n: int) -> mp.mpf:
        return mp.digamma(n) + (-1) ** n * mp.quad(lambda x: x ** (n - 1) / (x + 1), [0, 1])

    n = sum(counts)
    return mp.log(n) - sum(c * G(c) for c in counts) / n


def _chao_shen(counts: list[int], K: int | None) -> mp.mpf:
    n = sum(counts)
    singletons = counts.count(1)
    coverage = 1 - mp.mpf(min(singletons, n - 1)) / n
    p = [coverage * c / n for c in counts]
    return -sum(x * mp.log(x) / (1 - (1 - x) ** n) for x in p)


def _chao_wang_jost(counts: list[int], K: int | None) -> mp.mpf:
    """The textbook form, which needs the 60 digits."""
    n, f1, f2 = sum(counts), counts.count(1), counts.count(2)
    total = sum(mp.mpf(c) / n * (mp.digamma(n) - mp.digamma(c)) for c in counts)
    if f1 == 0:
        return total
    A = mp.mpf(2 * f2) / ((n - 1) * f1 + 2 * f2) if f2 else mp.mpf(2) / ((n - 1) * (f1 - 1) + 2)
    if A == 1:
        return total
    rest = -mp.log(A) - sum((1 - A) ** r / mp.mpf(r) for r in range(1, n))
    return total + mp.mpf(f1) / n * (1 - A) ** (1 - n) * rest


def _james_stein(counts: list[int], K: int | None) -> mp.mpf:
    assert K is not None
    n = sum(counts)
    p = [mp.mpf(c) / n for c in counts] + [mp.mpf(0)] * (K - len(counts))
    target = mp.mpf(1) / K
    shrinkage = (1 - sum(x**2 for x in p)) / ((n - 1) * sum((target - x) ** 2 for x in p))
    shrinkage = min(mp.mpf(1), shrinkage)
    q = [shrinkage * target + (1 - shrinkage) * x for x in p]
    return -sum(x * mp.log(x) for x in q if x > 0)


def _nsb(counts: list[int], K: int | None) -> mp.mpf:
    """Ratio of two integrals over the prior mean entropy, by adaptive quadrature in log concentration."""
    assert K is not None
    n = sum(counts)
    padded = counts + [0] * (K - len(counts))

    def log_evidence(b: mp.mpf) -> mp.mpf:
        return (
            mp.loggamma(K * b)
            - mp.loggamma(n + K * b)
            + sum(mp.loggamma(c + b) - mp.loggamma(b) for c in counts)
        )

    def density(b: mp.mpf) -> mp.mpf:
        return K * mp.psi(1, K * b + 1) - mp.psi(1, b + 1)

    def mean(b: mp.mpf) -> mp.mpf:
        return mp.digamma(n + K * b + 1) - sum(
            (c + b) / (n + K * b) * mp.digamma(c + b + 1) for c in padded
        )

    shift = max(log_evidence(mp.e**u) for u in range(-12, 13))

    def weight(u: mp.mpf) -> mp.mpf:
        b = mp.e**u
        return mp.e ** (log_evidence(b) - shift) * density(b) * b

    with mp.workdps(25):
        nodes = [mp.mpf(x) for x in range(-30, 31, 3)]
        return mp.quad(lambda u: weight(u) * mean(mp.e**u), nodes) / mp.quad(weight, nodes)


_ENTROPIES = {
    "plugin": _plugin,
    "miller_madow": _miller_madow,
    "jackknife": _jackknife,
    "grassberger": _grassberger,
    "chao_shen": _chao_shen,
    "chao_wang_jost": _chao_wang_jost,
    "james_stein": _james_stein,
    "nsb": _nsb,
}


def collision_chances(
    tokens: np.ndarray | list[np.ndarray],
    n_codes: int,
    labels: np.ndarray | None = None,
    pairs: str = "apart",
    position: int | None = None,
) -> tuple[list[float], list[float]]:
    """Chance by prompt that tokens of two of its images agree, and of it and another prompt.

    `tokens (prompt, sample, position)`, or an array `(sample, position)` a prompt where numbers are
    unequal; `labels (prompt, sample)`. Loops over pairs of images.
    """

    def agree(first: np.ndarray, second: np.ndarray) -> float:
        if position is not None:
            return float(first[position] == second[position])
        one = np.bincount(first, minlength=n_codes) / len(first)
        other = np.bincount(second, minlength=n_codes) / len(second)
        return float(one @ other)

    within, between = [], []
    n = len(tokens)
    for p in range(n):
        chances = []
        m = len(tokens[p])
        for s in range(m):
            for t in range(s):
                if labels is not None and len(set(labels[p][:m].tolist())) > 1:
                    same = labels[p, s] == labels[p, t]
                    if same and pairs == "apart":
                        continue
                    if not same and pairs == "together":
                        continue
                elif labels is not None and pairs == "together":
                    continue
                chances.append(agree(tokens[p][s], tokens[p][t]))
        within.append(float(np.mean(chances)) if chances else np.nan)
        others = []
        for q in range(n):
            if q != p:
                agreeing = [agree(one, other) for one in tokens[p] for other in tokens[q]]
                others.append(np.mean(agreeing))
        between.append(float(np.mean(others)))
    return within, between


def hall_interval(x: np.ndarray, level: float) -> tuple[float, float]:
    """Hall's (1992) interval of a mean: where his cubic of the t statistic stands at the t quantiles.

    The cubic is solved by bisection, with moments as the paper has them.
    """
    n, mean, error = len(x), x.mean(), x.std(ddof=1) / np.sqrt(len(x))
    skewness = np.mean((x - mean) ** 3) / np.mean((x - mean) ** 2) ** 1.5

    def cubic(value: float) -> float:
        u = (mean - value) / (error * np.sqrt(n))
        whole = u + skewness * u**2 / 3 + skewness**2 * u**3 / 27 + skewness / (6 * n)
        return float(np.sqrt(n) * whole)

    found = []
    for tail in ((1 + level) / 2, (1 - level) / 2):
        target, far = stats.t.ppf(tail, n - 1), 1e4 * error
        found.append(
            optimize.brentq(
                lambda value, target=target: cubic(value) - target,
                mean - far,
                mean + far,
                xtol=1e-13,
            )
        )
    return found[0], found[1]
