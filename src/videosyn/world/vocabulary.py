"""The words of the world: every attribute a clip can have, and the words that name it. Next: `scene.py`.

Each table maps an attribute's canonical name to the words and phrases that mean it; the first phrase is the plainest.
The caption grammar (`caption.py`) draws from these tables and the parser (`parser.py`) reads with them, so a word added
here is spoken and understood at once. No torch here: the command line imports this file to show its help.
"""

SOLIDS: dict[str, tuple[str, ...]] = {
    "ball": ("ball", "sphere", "orb"),
    "cube": ("cube", "box", "block"),
    "cone": ("cone",),
    "cylinder": ("cylinder", "drum"),
    "ring": ("ring", "donut", "torus"),
    "diamond": ("diamond", "gem", "crystal"),
}
COMPOSITES: dict[str, tuple[str, ...]] = {
    "house": ("house", "cottage", "home"),
    "tree": ("tree", "fir", "pine"),
    "boat": ("boat", "sailboat", "ship"),
    "snowman": ("snowman",),
    "rocket": ("rocket", "spaceship"),
    "lighthouse": ("lighthouse", "beacon"),
    "person": ("person", "figure", "man", "walker"),
}
KINDS: dict[str, tuple[str, ...]] = {**SOLIDS, **COMPOSITES}

COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "golden"),
    "green": ("green", "emerald"),
    "blue": ("blue", "azure"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rose"),
    "white": ("white", "ivory"),
}

SCENES: dict[str, tuple[str, ...]] = {
    "meadow": ("in a meadow", "on the grass", "in a green field", "on a lawn"),
    "desert": ("in the desert", "on the sand", "among the dunes", "on a sandy plain"),
    "snow": ("in the snow", "on a snowy field", "in a winter landscape", "on snowy ground"),
    "sea": ("on the sea", "on the water", "on the ocean", "at sea"),
    "studio": ("in a studio", "in a plain room", "in a grey studio", "indoors"),
    "abstract": ("in an abstract world", "in a dreamscape", "among abstract waves", "in a surreal space"),
}
SCENE_NOUNS: dict[str, tuple[str, ...]] = {
    "meadow": ("meadow", "grass", "field", "lawn"),
    "desert": ("desert", "sand", "dunes", "dune", "sandy"),
    "snow": ("snow", "snowy", "winter"),
    "sea": ("sea", "water", "ocean"),
    "studio": ("studio", "room", "indoors"),
    "abstract": ("abstract", "dreamscape", "surreal"),
}

LIGHTS: dict[str, tuple[str, ...]] = {
    "noon": ("at noon", "in daylight", "at midday", "by day", "on a sunny day"),
    "sunset": ("at sunset", "at dusk", "in the evening", "in golden light"),
    "night": ("at night", "by moonlight", "after dark", "under the stars"),
}
LIGHT_NOUNS: dict[str, tuple[str, ...]] = {
    "noon": ("noon", "daylight", "midday", "day", "sunny", "daytime"),
    "sunset": ("sunset", "dusk", "evening", "twilight"),
    "night": ("night", "moonlight", "dark", "stars", "nighttime"),
}

MOTIONS: dict[str, tuple[str, ...]] = {
    "left": ("moves left", "moves to the left", "slides left", "goes left", "drifts to the left"),
    "right": ("moves right", "moves to the right", "slides right", "goes right", "drifts to the right"),
    "up": ("moves up", "rises", "floats up", "goes up", "lifts off"),
    "down": ("moves down", "falls", "descends", "comes down", "sinks down"),
    "bounces": ("bounces", "hops", "jumps", "bounces up and down"),
    "spins": ("spins", "rotates", "turns around", "twirls", "spins around"),
    "grows": ("grows", "gets bigger", "becomes larger", "expands"),
    "shrinks": ("shrinks", "gets smaller", "becomes smaller"),
    "rests": ("rests", "stands still", "does not move", "stays still", "is still"),
}
WALKS: dict[str, tuple[str, ...]] = {
    "left": ("walks left", "walks to the left", "strolls left"),
    "right": ("walks right", "walks to the right", "strolls right"),
}

CAMERAS: dict[str, tuple[str, ...]] = {
    "still": ("still camera", "static camera", "fixed camera", "the camera is still"),
    "pan left": ("the camera pans left", "camera pans to the left", "panning left", "the camera turns left"),
    "pan right": ("the camera pans right", "camera pans to the right", "panning right", "the camera turns right"),
}

RELATIONS: dict[str, tuple[str, ...]] = {
    "left of": ("to the left of", "left of", "on the left of"),
    "right of": ("to the right of", "right of", "on the right of"),
    "in front of": ("in front of", "before"),
    "behind": ("behind", "in back of"),
    "above": ("above", "over", "hovering over"),
    "passes behind": ("passes behind", "moves behind", "goes behind"),
    "collides with": ("collides with", "bumps into", "crashes into", "hits"),
}
INVERSE_RELATION = {"left of": "right of", "right of": "left of", "in front of": "behind", "behind": "in front of"}
BELOW: tuple[str, ...] = ("below", "under")
"""The inverse of "above", which no scene is drawn with but a caption may say."""
BESIDE: tuple[str, ...] = ("beside", "next to")
"""Left or right of, without saying which."""

STYLES: dict[str, tuple[str, ...]] = {
    "plain": ("in a realistic style", "3d render", "plain style", "realistic"),
    "pixel art": ("in pixel art style", "pixel art", "as pixel art", "in a pixelated style"),
    "cartoon": ("in cartoon style", "cartoon", "as a cartoon", "in a comic style"),
    "painterly": ("in a painterly style", "oil painting", "as a painting", "painted"),
}

VERBS: dict[str, tuple[str, str]] = {
    "moves": ("move", "moving"),
    "slides": ("slide", "sliding"),
    "goes": ("go", "going"),
    "drifts": ("drift", "drifting"),
    "rises": ("rise", "rising"),
    "floats": ("float", "floating"),
    "lifts": ("lift", "lifting"),
    "falls": ("fall", "falling"),
    "descends": ("descend", "descending"),
    "comes": ("come", "coming"),
    "sinks": ("sink", "sinking"),
    "bounces": ("bounce", "bouncing"),
    "hops": ("hop", "hopping"),
    "jumps": ("jump", "jumping"),
    "spins": ("spin", "spinning"),
    "rotates": ("rotate", "rotating"),
    "turns": ("turn", "turning"),
    "twirls": ("twirl", "twirling"),
    "grows": ("grow", "growing"),
    "gets": ("get", "getting"),
    "becomes": ("become", "becoming"),
    "expands": ("expand", "expanding"),
    "shrinks": ("shrink", "shrinking"),
    "rests": ("rest", "resting"),
    "stands": ("stand", "standing"),
    "stays": ("stay", "staying"),
    "walks": ("walk", "walking"),
    "strolls": ("stroll", "strolling"),
    "passes": ("pass", "passing"),
    "collides": ("collide", "colliding"),
    "bumps": ("bump", "bumping"),
    "crashes": ("crash", "crashing"),
    "hits": ("hit", "hitting"),
}
"""Third person to base form and gerund, for the first word of every motion and event phrase."""
