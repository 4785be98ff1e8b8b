"""Convolutions by another algorithm than the direct sum: how far they may be off, by the sizes of whole tensors.

A transform mixes elements that the formula of one output never reads, so no bound by that output's own terms holds.
Each function gives a relative error, as a number of roundings, and the magnitude that it is relative to.

>>> from assay.reference.tensor import Tensor
>>> image, kernel = Tensor([1.0] * 16, (1, 1, 4, 4)), Tensor([1.0] * 9, (1, 1, 3, 3))
>>> by_winograd(image, kernel).roundings, by_winograd(image, kernel).mass
(13, 64.0)
>>> by_fft(image, kernel).roundings, round(by_fft(image, kernel).mass, 6)
(358, 12.0)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from assay.reference.tensor import Tensor

BEYOND = 5  # rows, or columns, of padding that a kernel may have more than it has of its own: no law asks for more


class Deviation(NamedTuple):
    """|got - exact| <= gamma(``roundings``) ``mass`` + ``least`` times the least number of the accumulation format.

    ``largest`` bounds every number on the way, which may overflow above the format's largest.
    """

    roundings: int
    mass: float
    least: float
    largest: float


def by_fft(input: Tensor, weight: Tensor) -> Deviation:
    """Transform image and kernel, multiply, add up the channels, transform back.

    Forward, by the 2-norm: Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., chapter 24, gives a
    relative error of log2(N) eta for N points, eta = mu + gamma_4 (sqrt(2) + mu) < 7 u, with roots of unity that are
    right to mu = u. The same steps for a butterfly of p points: p products of relative error sqrt(2) gamma_2 (Higham,
    lemma 3.5) + mu < 3.83 u, p - 1 additions, a twiddle of 3.83 u; ||E|| = sqrt(p) ||F_p|| for E all ones; that is
    sqrt(p) (p + 2.83) u + 3.83 u for log2(p) levels, for p = 3, 5, 7 no more than 10.7 u a level. For p = 2 it is
    Higham's 7 u: a butterfly of 2 points multiplies by 1 and -1 only, which is exact.

    Back, by the maximum (as in Percival, *Rapid multiplication modulo the sum and difference of highly composite
    numbers*, Math. Comp. 72 (2003), p. 392, whose bound for N = 2**n is (1+u)**3n (1+sqrt(5)u)**(3n+1)
    (1+mu)**3n - 1 times ||x|| ||w||): the p + 6.66 roundings of a butterfly meet the sum of the magnitudes of what it
    reads, and those sums add up to the spectrum's 1-norm, at most N ||x|| ||w|| by Cauchy and Schwarz, channels
    included. That is at most 6.1 u a level for p = 3, 5, 7, and for p = 2, where the products round nothing, 4.83 u.
    Both forward transforms and the one back are at most 27 u a level for each p (26.1 for p = 7, 18.9 for p = 2); real
    transforms have one level more; 3 roundings multiply the spectra, 2 scale by 1 / N, C add up the channels, 1 is to
    spare.

    N: the image padded by up to `BEYOND` more than the kernel's size at either end, the kernel, each axis at most
    doubled for its length to be a product of 2, 3, 5 and 7. Norms are those of whole tensors: two real images or
    kernels may share one complex transform. What underflows, in fewer than 128 places a level and element, grows by no
    more than N and the other factor's norm.
    """
    channels = input.shape[1]
    height, width = (side + 3 * taps + 2 * BEYOND for side, taps in zip(input.shape[2:], weight.shape[2:], strict=True))
    points = 4 * height * width
    levels = math.ceil(math.log2(points)) + 1
    x, w = input.norm, weight.norm
    least = 128.0 * levels * points * channels * (1.0 + x + w)
    largest = max(math.sqrt(points) * max(x, w), points * x * w)
    return Deviation(27 * levels + 6 + channels, x * w, least, largest)


# F(2 x 2, 3 x 3) is A' [sum over channels of (G g G') * (B' d B)] A, elementwise in the middle. The sums of magnitudes
# of the rows of B' are 2, 2, 2, 2 and those of G are 1, 3/2, 3/2, 1; both rows of A' have ones at 3/2, 3/2 and a 1.
AN_AXIS = 2.0 * 1.0 + 2.0 * 1.5 + 2.0 * 1.5


def by_winograd(input: Tensor, weight: Tensor) -> Deviation:
    """Winograd's F(2 x 2, 3 x 3), whatever larger tiles there are: those have other constants.

    Barabasz, Anderson, Soodhalter and Gregg, *Error Analysis and Improving the Accuracy of Winograd Convolution for
    Deep Neural Networks*, ACM Trans. Math. Softw. 46(4) (2020): componentwise, an error is at most the number of
    roundings on the longest way, times the same formula with every matrix and operand replaced by its magnitudes.
    On the way: 2 for the image (its sums have two terms, on either axis), 6 for the kernel (three products each),
    1 for the product, C - 1 for the channels, 4 to go back (three terms each): C + 12.

    With |d| <= max|x| and |g| <= max|w|, an output of a row of A' has at most sum_i |A_i| |B_i|_1 |G_i|_1 an axis,
    where |.|_1 sums a row's magnitudes: 8 for both rows, so that the mass is 8 * 8 = 64 for each channel. What
    underflows: 8 places of a kernel's transform, by 4 max|x|, 9 products and C channels; 3 of an image's, by
    9/4 max|w|, likewise; 3 (C + 12) + 9 C after the product: less than 300 C.

    A kernel that is not 3 x 3 has no such transform: then nothing is permitted but what a direct sum may be off.
    """
    x, w, channels = input.most, weight.most, input.shape[1]
    if weight.shape[2:] != (3, 3):
        return Deviation(0, 0.0, 0.0, 0.0)
    mass = AN_AXIS**2 * channels * x * w
    return Deviation(channels + 12, mass, 300.0 * channels * (1.0 + x + w), max(4.0 * x, 2.25 * w, mass))


DEVIATIONS: dict[str, Callable[[Tensor, Tensor], Deviation]] = {"fft": by_fft, "winograd": by_winograd}
