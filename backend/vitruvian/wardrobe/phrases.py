"""The words of the wardrobe's captions: synonyms by what they name. Only words that are always true of it."""

from __future__ import annotations

PERSON_NOUNS = {
    ("woman", "teen"): ("girl", "young woman", "teenage girl", "woman"),
    ("woman", "adult"): ("woman", "woman", "lady", "female person"),
    ("woman", "older"): ("older woman", "old woman", "elderly lady", "woman"),
    ("man", "teen"): ("boy", "young man", "teenage boy", "man"),
    ("man", "adult"): ("man", "man", "guy", "male person"),
    ("man", "older"): ("older man", "old man", "elderly man", "man"),
}
AGE_OF_NOUN = {
    "girl": "teen", "young woman": "teen", "teenage girl": "teen", "boy": "teen", "young man": "teen",
    "teenage boy": "teen", "older woman": "older", "old woman": "older", "elderly lady": "older",
    "older man": "older", "old man": "older", "elderly man": "older",
}  # fmt: skip

COLOUR_WORDS = {
    "white": ("white", "white", "white", "off-white"),
    "black": ("black",),
    "grey": ("grey", "gray"),
    "red": ("red", "red", "red", "crimson"),
    "orange": ("orange",),
    "yellow": ("yellow",),
    "green": ("green",),
    "olive": ("olive", "olive", "olive green", "khaki green"),
    "teal": ("teal", "teal", "turquoise"),
    "blue": ("blue",),
    "navy": ("navy", "navy blue", "dark blue"),
    "purple": ("purple", "purple", "violet"),
    "pink": ("pink",),
    "brown": ("brown",),
    "beige": ("beige", "beige", "sand-coloured", "cream"),
}
HAIR_COLOUR_WORDS = {
    "black": ("black",),
    "brown": ("brown", "brown", "brunette"),
    "blonde": ("blonde", "blonde", "blond", "fair"),
    "red": ("red", "ginger", "auburn"),
    "grey": ("grey", "gray"),
    "white": ("white",),
}

KIND_NOUNS = {
    "t-shirt": ("t-shirt", "t-shirt", "tee", "tee shirt"),
    "shirt": ("shirt", "shirt", "shirt", "button-up shirt", "collared shirt"),
    "sweater": ("sweater", "sweater", "jumper", "pullover"),
    "tank top": ("tank top", "sleeveless top", "tank top"),
    "jacket": ("jacket",),
    "coat": ("coat", "coat", "overcoat"),
    "dress": ("dress", "dress", "dress", "gown"),
    "trousers": ("trousers", "pants", "slacks"),
    "jeans": ("jeans", "jeans", "denim jeans"),
    "shorts": ("shorts",),
    "skirt": ("skirt",),
    "sneakers": ("sneakers", "sneakers", "trainers", "running shoes"),
    "boots": ("boots",),
    "shoes": ("shoes", "leather shoes", "shoes"),
    "hat": ("hat", "brimmed hat"),
    "cap": ("cap", "baseball cap"),
    "beanie": ("beanie", "woolly hat"),
    "belt": ("belt",),
    "glasses": ("glasses", "glasses", "spectacles"),
}
PLURAL_KINDS = frozenset({"trousers", "jeans", "shorts", "sneakers", "boots", "shoes", "glasses"})

PATTERN_ADJECTIVES = {
    "plain": ("plain", "solid"),
    "striped": ("striped", "striped", "stripy"),
    "vertical stripes": ("vertically striped", "pinstriped"),
    "plaid": ("plaid", "checked", "tartan"),
    "dotted": ("dotted", "polka dot", "spotted"),
    "denim": ("denim",),
    "knit": ("knitted", "knit"),
    "print": ("printed", "graphic"),
}
PATTERN_NOUNS = {
    "striped": ("stripes", "horizontal stripes"),
    "vertical stripes": ("vertical stripes",),
    "plaid": ("checks",),
    "dotted": ("dots", "polka dots"),
    "print": ("a print", "a logo"),
}

HAIR_PHRASES = {
    "buzz": ("a {c} buzz cut", "very short {c} hair", "cropped {c} hair"),
    "short": ("short {c} hair", "short {c} hair", "{c} short hair"),
    "bob": ("a {c} bob", "chin-length {c} hair", "medium-length {c} hair"),
    "long": ("long {c} hair", "long {c} hair", "{c} long hair"),
    "ponytail": ("a {c} ponytail", "{c} hair in a ponytail"),
    "bun": ("a {c} bun", "{c} hair in a bun", "{c} hair tied in a bun"),
    "afro": ("a {c} afro", "curly {c} hair", "{c} curls"),
}
SKIN_PHRASES = {
    "pale": ("pale", "fair"),
    "light": ("light",),
    "tan": ("tanned", "olive-toned"),
    "brown": ("brown",),
    "dark": ("dark",),
    "very dark": ("very dark", "deep dark"),
}
BEARD_PHRASES = {
    "stubble": ("stubble", "a stubbly chin"),
    "moustache": ("a moustache", "a mustache"),
    "short beard": ("a short beard", "a trimmed beard", "a beard"),
    "full beard": ("a full beard", "a bushy beard", "a beard"),
}
OPENINGS = ("a photo of ", "a picture of ", "a portrait of ", "an image of ")
