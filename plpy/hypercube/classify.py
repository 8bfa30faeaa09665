"""Say which part of a network a tensor is, from its name, its shape and its neighbours.

This room reads the tables of ``habits``: it takes a name apart, finds out in
which part of the network the layer stands, and takes the first rule that holds.
Names, shapes and configurations come from files that nobody vouches for; they
are cut to length, and nothing in them makes this room fail.
"""

import functools
import re

from hypercube.habits import RULES, ZONES, Role

_LONGEST_NAME = 256
_MOST_SIBLINGS = 64
_LARGEST_LAYER = 32767

# What follows the name of a layer: which of its tensors this is.
_LEAF = re.compile(
    r"(?:\.parametrizations\.weight\.original\d|\.lora_(?:embedding_)?[ab](?:\.[^.]+)?(?:\.weight)?"
    r"|\.(?:weight|bias|qweight|kernel|weight_packed|weight_[gv])"
    r"|(?<=norm)\.(?:gamma|beta|scale|g|b)|(?<!_attention)(?<!position)_(?:weight|bias|blocks))$"
)
# Names that say nothing: the layer inside a layer.
_WRAPPER = re.compile(
    r"(?<=[a-z_])(?<!norm)(?:\.(?:linear|base_layer|orig_module))+$"
    r"|(?:(?<=[qkvt]_proj)|(?<=qkv_proj)|(?<=conv\d))\.conv(?:olution)?$"
    r"|(?:(?<=post_attention)|(?<=intermediate)|(?<=output))\.conv1d$"
)
_INDEX = re.compile(r"(?<=\.)[0-9]+(?=\.|$)")
_LISTED = re.compile(r"(?:^|[._])(?:h|blk|[a-z]*(?:layer|block|decoder|encoder)s?)\.([0-9]+)(?=\.|$)", re.I)
_NUMBERED = re.compile(r"(?:^|\.)([0-9]+)(?=\.|$)")


class Context:
    """What is known about the model that a tensor belongs to."""

    def __init__(self):
        self.vocabulary = None
        self._weights = {}
        self._siblings = {}

    @classmethod
    def of(cls, tensors, config=None):
        """Read a model's (name, shape) pairs and its parsed config.json, passing over what makes no sense."""
        context = cls()
        context.vocabulary = _vocabulary(config)
        for name, shape in tensors:
            path, leaf = _split(name)
            if "bias" not in leaf:
                context._weights.setdefault(path, _sizes(shape))
            parent, _, own = path.rpartition(".")
            context._add(parent, own)
            context._add(*parent.rpartition(".")[::2])
        return context

    def _add(self, parent, own):
        siblings = self._siblings.setdefault(parent, {})
        if len(siblings) < _MOST_SIBLINGS:
            siblings[own] = None

    def weight(self, path):
        """Return the shape of the weight at a path, () where there is none."""
        return self._weights.get(path, ())

    def siblings(self, parent):
        """Return the names right below a path, at most 64 of them."""
        return self._siblings.get(parent, ())


class _Tensor:
    """One tensor as the conditions of the rules see it."""

    __slots__ = ("context", "leaf", "own", "parent", "shape", "weight")

    def __init__(self, path, leaf, shape, context):
        self.leaf = leaf
        self.shape = shape
        self.context = context
        self.weight = context.weight(path) if "bias" in leaf else shape
        self.parent, _, self.own = path.rpartition(".")

    def siblings(self):
        """Return the names of the layers next to this one."""
        return self.context.siblings(self.parent)

    def beside(self, own):
        """Return the shape of the weight of a sibling."""
        return self.context.weight(f"{self.parent}.{own}")

    def block(self):
        """Return the shapes of the matrices next to this layer and next to its parent."""
        for parent in (self.parent, self.parent.rpartition(".")[0]):
            for own in self.context.siblings(parent):
                shape = self.context.weight(f"{parent}.{own}")
                if len(shape) > 1:
                    yield shape


def _split(name):
    """Return the dotted path of a layer and the leaf of the tensor's name."""
    path = "." + str(name)[-_LONGEST_NAME:].lower()
    found = _LEAF.search(path)
    if found is None:
        return path, ""
    return _WRAPPER.sub("", path[: found.start()]), found.group()


def _sizes(shape):
    """Return a shape as a tuple of sizes; what is no shape is a scalar's."""
    if not isinstance(shape, (list, tuple)) or not all(isinstance(size, int) and size >= 0 for size in shape):
        return ()
    return tuple(shape)


def _vocabulary(config):
    """Return the vocabulary's size that a configuration, or its text part, states, None without one."""
    parts = [config, config.get("text_config")] if isinstance(config, dict) else []
    stated = [part.get("vocab_size") for part in parts if isinstance(part, dict)]
    return next((size for size in stated if type(size) is int and size > 0), None)


def _zone(path):
    """Return the part of the network that the nearest telling ancestor names.

    The first component of a longer path is the model's prefix and tells nothing.
    """
    ancestors = path.split(".")[1:-1]
    for distance, component in enumerate(reversed(ancestors if len(ancestors) < 4 else ancestors[1:])):
        for zone, pattern in ZONES:
            if pattern.search(component) and (zone != "norm" or distance < 2):
                return zone
    return "none"


@functools.lru_cache(maxsize=4096)
def _candidates(path):
    """Return the rules that hold for a path but for their conditions, up to the first without one."""
    where = _zone(path)
    found = []
    for zones, pattern, condition, role in RULES:
        if (not zones or where in zones) and pattern.search(path):
            found.append((condition, role))
            if condition is None:
                break
    return tuple(found)


def classify(name, shape, context):
    """Say which part of the network a tensor is.

    "model.layers.3.self_attn.q_proj.weight" -> Role.ATTENTION_QUERY

    The rules are read from top to bottom and the first that holds decides.
    """
    path, leaf = _split(name)
    tensor = _Tensor(path, leaf, _sizes(shape), context)
    for condition, role in _candidates(_INDEX.sub("0", path)):
        if condition is None or condition(tensor):
            return role
    return Role.OTHER


def layer_of(name):
    """Return the number of the repeated layer that a tensor belongs to, None if there is none.

    "model.layers.3.self_attn.q_proj.weight" -> 3
    """
    name = str(name)[:_LONGEST_NAME]
    found = _LISTED.search(name) or _NUMBERED.search(name)
    if found is None or len(found.group(1)) > 5 or int(found.group(1)) > _LARGEST_LAYER:
        return None
    return int(found.group(1))
