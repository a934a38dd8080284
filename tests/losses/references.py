"""The losses from their definitions, in NumPy and float64, on logits enlarged as a whole.

Each takes p [n, c], the probabilities of n valid pixels, their classes y [n] and what the weight
map adds to each, and gives the loss of these pixels together.
"""

import functools

import numpy as np


def interpolation(old, new, corners):
    """[new, old]: where np.interp puts each old pixel alone."""
    if corners == "aligned":
        at = np.linspace(0, old - 1, new)
    else:
        at = (np.arange(new) + 0.5) * old / new - 0.5
    return np.stack([np.interp(at, np.arange(old), pixel) for pixel in np.eye(old)], axis=1)


def loss(name, logits, labels, added, *, void, corners="half_pixel", per_image=False, **options):
    """Of a batch: logits [b, h, w, c], labels and added [b, H, W]."""
    rows = interpolation(logits.shape[1], labels.shape[1], corners)
    cols = interpolation(logits.shape[2], labels.shape[2], corners)
    scores = np.einsum("Hh,Ww,bhwc->bHWc", rows, cols, logits.astype(np.float64))
    scores -= scores.max(-1, keepdims=True)
    p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    function = functools.partial(LOSSES[name], **options)
    valid = labels != void
    images = [slice(i, i + 1) for i in range(len(labels))] if per_image else [slice(None)]
    images = [(at, valid[at]) for at in images if valid[at].any()]
    values = [function(*(x[at][inside] for x in (p, labels, added))) for at, inside in images]
    return np.mean(values) if values else 0.0


def cross_entropy(p, y, added):
    return np.mean([-(1 + w) * np.log(q[c]) for q, c, w in zip(p, y, added, strict=True)])


def focal(p, y, added, gamma=2.0, class_weights=()):
    total = 0.0
    for q, c, w in zip(p, y, added, strict=True):
        wrong = sum(q[k] for k in range(len(q)) if k != c)
        total -= ((class_weights[c] if class_weights else 1) + w) * wrong**gamma * np.log(q[c])
    return total / len(y)


def ohem(p, y, added, threshold=0.7, min_share=0.0625, class_weights=()):
    """The pixels in order of p, each kept whole, in part (the last of the share) or not."""
    true = p[np.arange(len(y)), y]
    room = max((true < threshold).sum(), min_share * len(y))
    kept, total = room, 0.0
    for i in np.argsort(true):
        part = min(1.0, room)
        factor = (class_weights[y[i]] if class_weights else 1) + added[i]
        total -= part * factor * np.log(true[i])
        room -= part
    return total / kept if kept else 0.0


def overlaps(p, y, added, power=1):
    """For each class: sum(p y), sum(p^power), sum(y)."""
    mass = 1 + added
    for c in range(p.shape[1]):
        true = y == c
        yield (mass * p[:, c] * true).sum(), (mass * p[:, c] ** power).sum(), mass[true].sum()


def dice(p, y, added, squared=True, smooth=0.0, classes="present"):
    losses = []
    for both, predicted, true in overlaps(p, y, added, 2 if squared else 1):
        if true or classes == "all":
            losses.append(1 - (2 * both + smooth) / (predicted + true + smooth))
    return np.mean(losses)


def generalised_dice(p, y, added):
    found = [(1 / t**2, both, q + t) for both, q, t in overlaps(p, y, added) if t]
    return 1 - 2 * sum(w * both for w, both, _ in found) / sum(w * both for w, _, both in found)


def tversky(p, y, added, alpha=0.3, beta=0.7, smooth=0.0, classes="present"):
    losses, mass = [], 1 + added
    for c in range(p.shape[1]):
        true = y == c
        hit = (mass * p[:, c])[true].sum()
        false_alarm = (mass * p[:, c])[~true].sum()
        missed = (mass * (1 - p[:, c]))[true].sum()
        index = (hit + smooth) / (hit + alpha * false_alarm + beta * missed + smooth)
        if true.any() or classes == "all":
            losses.append(1 - index)
    return np.mean(losses)


def lovasz(p, y, added, classes="present"):
    """Definition 2 of the paper, with the set function itself: |M| / |{y = c} or M|."""
    losses, mass = [], 1 + added

    def jaccard_loss(wrong, true):
        return mass[wrong].sum() / mass[true | wrong].sum() if wrong.any() else 0.0

    for c in range(p.shape[1]):
        true = y == c
        errors = np.abs(true - p[:, c])
        wrong, before, total = np.zeros(len(y), bool), 0.0, 0.0
        for i in np.argsort(-errors):
            wrong[i] = True
            now = jaccard_loss(wrong, true)
            total, before = total + errors[i] * (now - before), now
        if true.any() or classes == "all":
            losses.append(total)
    return np.mean(losses)


LOSSES = {
    each.__name__: each
    for each in (cross_entropy, focal, ohem, dice, generalised_dice, tversky, lovasz)
}
