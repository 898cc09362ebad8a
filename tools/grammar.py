"""Short stories from a seeded grammar: what the small model that the repository ships is trained on.

A story follows one hero, one creature, one place and one thing from sentence to sentence, so that a model must carry
names, pronouns and articles over a distance. `sentence_pattern` recognises what the grammar can say.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from itertools import islice

END = 256  # the token after the 256 bytes: begins and ends a story
WINDOW = 512  # tokens that a model sees at a time
HELD_OUT = 1  # the seed of the stories that models are judged by; training has others
HEROES = {"Anna": "she", "Ben": "he", "Clara": "she", "David": "he", "Emma": "she", "Felix": "he", "Grace": "she",
          "Henry": "he", "Ida": "she", "Jonas": "he", "Lucy": "she", "Martin": "he"}
WORDS = {
    "creature": "fox|owl|cat|dog|horse|crow|hedgehog|otter|mouse|rabbit|goat|swan",
    "creatures": "foxes|owls|cats|dogs|horses|crows|hedgehogs|otters|mice|rabbits|goats|swans",
    "place": "harbour|forest|market|river|garden|mill|tower|bridge|meadow|lighthouse|village|orchard",
    "thing": "lantern|basket|golden key|apple|old map|silver bell|letter|umbrella|blue cup|rope|iron box|wooden boat",
    "where": "under the stairs|behind the wall|beside the gate|near the well|on the bench|in the tall grass",
    "opening": "One morning|One evening|Last winter|In early spring|Long ago|On a quiet day|Once upon a time",
    "went": "walked|ran|hurried|wandered|rode|came",
    "quality": "old|quiet|small|busy|green|lonely|wide|bright",
    "found": "found|saw|noticed|discovered",
    "kind": "friendly|clever|sleepy|hungry|shy|brave|curious|grey",
    "feeling": "happy|tired|proud|glad|surprised|thankful",
    "weather": "The sun was shining|A cold wind was blowing|The snow was falling|It was raining softly"
               "|The moon was rising|The fog was thick",
    "and_so": "and nobody was in sight|and the air was still|and the birds were singing|and the streets were empty",
    "number": "Two|Three|Four|Seven",
    "doing": "sleeping|waiting|playing|eating|singing|resting",
    "question": "Where are you going|Who lost this|What are you looking for|May I come with you|Do you know the way"
                "|Why are you so quiet",
    "answer": "I am going home|I do not know|Follow me|Somebody left it here|You may keep it|Be careful at night",
    "said": "said|answered|whispered|replied",
}
OPENING = "{opening}, {hero} {went} to the {quality} {place}."
MIDDLE = (
    "{weather}, {and_so}.",
    "{number} {creatures} were {doing} {where}.",
    "One {creature} was {doing} {where}.",
    "{Pronoun} {found} {a_thing} {where}.",
    "{hero} was looking for {a_thing}.",
    "\"{question}?\" asked {hero}.",
    "\"{question}?\" asked the {creature}.",
    "\"{answer},\" {said} the {creature}.",
    "\"{answer},\" {said} {hero}.",
    "The {creature} was {kind}, but {hero} was not afraid.",
    "{hero} gave the {thing} to the {creature}.",
    "{Pronoun} sat down and shared some bread with the {kind} {creature}.",
)
MEETING = "There {pronoun} met {a_kind} {creature}."
CLOSING = (
    "At last {hero} went home with the {thing}, and {pronoun} was {feeling}.",
    "In the end the {creature} showed {hero} the way, and {pronoun} was {feeling}.",
    "{hero} thanked the {creature} and left the {place}.",
)
SENTENCES = (OPENING, MEETING, *MIDDLE, *CLOSING)


def story(rng: random.Random) -> str:
    """One story of five to nine sentences."""
    hero = rng.choice(list(HEROES))
    cast = {name: rng.choice(WORDS[name].split("|")) for name in ("creature", "place", "thing")} | {"hero": hero}
    middle = rng.sample(MIDDLE, rng.randint(2, 6))
    return " ".join(_say(form, cast, rng) for form in (OPENING, MEETING, *middle, rng.choice(CLOSING)))


def stories(seed: int) -> Iterator[str]:
    """Stories without end; equal seeds tell equal stories."""
    rng = random.Random(seed)
    while True:
        yield story(rng)


def rows(seed: int, length: int) -> Iterator[list[int]]:
    """Token ids without end, in rows: one for each byte of a story, and `END` before, between and after stories.

    A row begins where a story begins, and has as many as it holds.
    """
    told = stories(seed)
    while True:
        row = [END]
        while len(row) < length:
            row += [*next(told).encode(), END]
        yield row[:length]


def held_out() -> list[int]:
    """Seven windows, one after the other, of stories that no model has read."""
    return [token for row in islice(rows(HELD_OUT, WINDOW), 7) for token in row]


def sentence_pattern() -> re.Pattern[str]:
    """Matches each sentence that the grammar can say, and nothing else."""
    choices = {name: f"(?:{'|'.join(map(re.escape, text.split('|')))})" for name, text in WORDS.items()}
    choices |= {"hero": f"(?:{'|'.join(HEROES)})", "pronoun": "(?:he|she)", "Pronoun": "(?:He|She)"}
    for name in ("thing", "kind"):
        words = WORDS[name].split("|")
        choices[f"a_{name}"] = f"(?:{'|'.join(re.escape(_with_article(word)) for word in words)})"
    return re.compile("|".join(_pattern(form, choices) for form in SENTENCES))


def split(text: str) -> list[str]:
    """The sentences of a story; a quotation ends with who said it."""
    return re.findall(r'"[^"]*"[^."]*\.|[^".]+\.', text.strip())


def _say(form: str, cast: Mapping[str, str], rng: random.Random) -> str:
    words = {name: rng.choice(text.split("|")) for name, text in WORDS.items()} | dict(cast)
    pronoun = HEROES[cast["hero"]]
    words |= {"pronoun": pronoun, "Pronoun": pronoun.capitalize()}
    words |= {f"a_{name}": _with_article(words[name]) for name in ("thing", "kind")}
    return form.format(**words)


def _with_article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _pattern(form: str, choices: Mapping[str, str]) -> str:
    parts = re.split(r"\{(\w+)\}", form)
    return "".join(choices[part] if number % 2 else re.escape(part) for number, part in enumerate(parts))
