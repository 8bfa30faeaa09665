"""Pictures of maps: what is drawn, from the tables; `picture` draws it."""

from hypercube import boundary, catalog, words
from hypercube.errors import InvalidArgument, StepMissing, TooMany, UnknownToken

_AXES = 4
_HIGHLIGHTS = 50
_NEIGHBORS = 50
_SIDES = (400, 4000)


def map_svg(name, highlight, axes, neighbors, zoom, width, height):
    """Answer map_svg: the map of a model as a text in SVG."""
    import numpy as np

    from hypercube import picture

    axes = _check_axes(axes)
    _check_sizes(neighbors, zoom, width, height)
    words.check_words(highlight or ())
    highlight = list(dict.fromkeys(highlight or ()))
    if len(highlight) > _HIGHLIGHTS:
        raise TooMany(
            f"{len(highlight)} words are to be highlighted, at most {_HIGHLIGHTS} are",
            hint="Draw two pictures.",
        )
    model = catalog.find_model(name)
    tokens = words.single(model, highlight)
    unknown = [word for word, token_id in zip(highlight, tokens, strict=True) if token_id is None]
    if unknown:
        raise UnknownToken(unknown, model["name"])
    ids, points, labels, kinds = catalog.map_points(model["name"], *axes)
    ids = np.frombuffer(ids, ">i4")
    if not len(ids):
        raise StepMissing(
            f'model "{model["name"]}" has no map',
            hint="SELECT notes FROM hypercube.model_report('...') says why.",
        )
    place = {token_id: row for row, token_id in enumerate(ids.tolist())}
    shown = []
    for word, token_id in zip(highlight, tokens, strict=True):
        if token_id not in place:
            raise InvalidArgument(
                f'"{word}" has no point on the map of model "{model["name"]}"', hint="Leave it out."
            )
        near = catalog.stored_neighbors(model["id"], token_id, neighbors) if neighbors else []
        shown.append(picture.Highlight(word, place[token_id], [place[one] for one in near if one in place]))
    return picture.draw(
        np.frombuffer(points, ">f8").astype(np.float64).reshape(-1, 2),
        labels,
        kinds,
        shown,
        axes=axes,
        title=f"The map of {model['name']}",
        subtitle=f"{len(ids):,} tokens, axes {axes[0]} and {axes[1]} of {_AXES}",
        width=width,
        height=height,
        zoom=zoom,
        step=boundary.tick,
    )


def _check_axes(axes):
    if (
        axes is None
        or len(axes) != 2
        or any(axis not in range(1, _AXES + 1) for axis in axes)
        or axes[0] == axes[1]
    ):
        raise InvalidArgument(
            "axes are not two different ones of 1 to 4", hint="For example axes => '{1,3}'."
        )
    return tuple(axes)


def _check_sizes(neighbors, zoom, width, height):
    for what, value, least, most in (
        ("neighbors", neighbors, 0, _NEIGHBORS),
        ("width", width, *_SIDES),
        ("height", height, *_SIDES),
    ):
        if value is None or not least <= value <= most:
            raise InvalidArgument(
                f"{what} is out of range: {'null' if value is None else value}",
                hint=f"Give {least} to {most}.",
            )
    if zoom is None:
        raise InvalidArgument("zoom must not be null", hint="Give true or false.")
