"""How well a model does on published tests of analogies and similarities."""

from hypercube import batches, benchmarks, boundary, embeddings, limits, ranking, words
from hypercube.errors import InvalidArgument
from hypercube.queries import check_method


def evaluate_analogies(text, method, name, ask):
    """Answer evaluate_analogies: (section, asked, answered, correct, accuracy), the last row for all.

    A question is answered where each of its words is a token that passes the filter; the answer
    is the best token that passes and is none of the three words.
    """
    import numpy as np

    method = check_method(method)
    sections = benchmarks.read_analogies(text)
    model = embeddings.find_model(name)
    ranking.check_ask(ask, model)
    asked = [question for section in sections for question in section.questions]
    words.check_words([word for question in asked for word in question])
    limits.charge(len(asked))
    held = embeddings.load_matrix(model)
    eligible = ranking.mask(model, ask, held.ineligible)
    tokens = _tokens(model, asked, eligible)
    answerable = (tokens >= 0).all(axis=1)
    correct = np.zeros(len(asked), bool)
    if answerable.any():
        questions = batches.Questions.of_tokens(held, tokens[answerable, :3])
        found, scores = batches.search_analogies(model, questions, method, eligible, 1)
        correct[answerable] = (found[:, 0] == tokens[answerable, 3]) & (scores[:, 0] > -np.inf)
    rows, begin = [], 0
    for section in sections:
        part = slice(begin, begin + len(section.questions))
        rows.append(_row(section.name, answerable[part], correct[part]))
        begin = part.stop
    return [*rows, _row("total", answerable, correct)]


def _row(name, answerable, correct):
    answered, right = int(answerable.sum()), int(correct.sum())
    return name, len(answerable), answered, right, right / answered if answered else None


def _tokens(model, asked, eligible):
    """Return the token ids of questions, int64 (m, 4), -1 for words that are no token or do not qualify."""
    import numpy as np

    known = list(dict.fromkeys(word for question in asked for word in question))
    ids = [-1 if one is None else one for one in words.single(model, known)]
    if eligible is not None:
        ids = [one if one >= 0 and eligible[one] else -1 for one in ids]
    number = dict(zip(known, ids, strict=True))
    return np.array([[number[word] for word in question] for question in asked], np.int64)


def evaluate_similarity(text, name, in_pieces):
    """Answer evaluate_similarity: (pairs, answered, coverage, spearman, pearson).

    A pair is answered where both words are tokens, or can be spelled in several of them if `in_pieces`.
    """
    import numpy as np

    if in_pieces is None:
        raise InvalidArgument("in_pieces must not be null", hint="Give true or false.")
    pairs = benchmarks.read_pairs(text)
    words.check_words([word for pair in pairs for word in pair[:2]])
    model = embeddings.find_model(name)
    limits.charge(len(pairs))
    known = list(dict.fromkeys(word for pair in pairs for word in pair[:2]))
    if in_pieces:
        found = words.spell(model, known)
        words.say_pieces(model, known, found)
    else:
        found = [None if one is None else [one] for one in words.single(model, known)]
    held = embeddings.load_matrix(model)
    for place in words.without_direction(found, held.unit):
        found[place] = None
    spelled = dict(zip(known, found, strict=True))
    answered = [pair for pair in pairs if spelled[pair[0]] and spelled[pair[1]]]
    used = list(dict.fromkeys(word for pair in answered for word in pair[:2]))
    if not used:
        return len(pairs), 0, 0.0, None, None
    boundary.tick()
    vectors = words.unit_vectors(model, used, [spelled[word] for word in used], held.unit)
    place = {word: number for number, word in enumerate(used)}
    left, right = (vectors[[place[pair[side]] for pair in answered]] for side in (0, 1))
    ours, theirs = np.einsum("ij,ij->i", left, right), np.array([pair[2] for pair in answered])
    spearman = benchmarks.correlation(benchmarks.mean_ranks(ours), benchmarks.mean_ranks(theirs))
    return (
        len(pairs),
        len(answered),
        len(answered) / len(pairs),
        spearman,
        benchmarks.correlation(ours, theirs),
    )
