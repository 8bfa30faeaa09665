"""How often one token follows another."""

import numpy as np

WINDOW_LIMIT = 16


def count_pairs(ids, lengths, times, *, window, size, excluded=None):
    """Count the ordered pairs of tokens that stand near each other in a sentence.

    Parameters
    ----------
    ids : int array-like of shape (sum of lengths,)
        The tokens of the sentences, one after the other, each at least 0 and below `size`.
    lengths, times : int array-like of shape (sentences,)
        Tokens of each sentence, and how often it occurs.
    window : int
        A pair is at most so many places apart; 1 is the next token.
    size : int
        Of the vocabulary.
    excluded : int or None
        A token that stands for what cannot be spelled: pairs with it do not count.

    Returns
    -------
    sources, targets, counts : int64 ndarrays of shape (pairs,)
        Every pair once, by source, then target.
    """
    ids = np.asarray(ids, np.int64)
    sentence = np.repeat(np.arange(len(lengths)), lengths)
    times = np.asarray(times, np.int64)
    keys, weights = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for distance in range(1, min(window, len(ids) - 1) + 1):
        pair = sentence[:-distance] == sentence[distance:]
        if excluded is not None:
            pair &= (ids[:-distance] != excluded) & (ids[distance:] != excluded)
        keys.append(ids[:-distance][pair] * size + ids[distance:][pair])
        weights.append(times[sentence[:-distance][pair]])
    found, place = np.unique(np.concatenate(keys), return_inverse=True)
    # Sums of float64 are exact far beyond any number of tokens.
    counts = np.bincount(place, np.concatenate(weights), len(found)).astype(np.int64)
    return found // size, found % size, counts
