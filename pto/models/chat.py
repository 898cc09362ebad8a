"""Chat prompts. A file's template is a program in another language: it is recognised, never run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pto.core.errors import ModelError, UsageError
from pto.isa.words import shown
from pto.models.tokenizer import Special

ROLES = ("system", "user", "assistant")
_DEFAULT_SYSTEM = re.compile(r"<\|im_start\|>system(?:\\n|\n)([^'\"{}<>]*)<\|im_end\|>")


@dataclass(frozen=True, slots=True)
class Message:
    """What somebody says: the role is ``system``, ``user`` or ``assistant``."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """A way of writing conversations as prompts.

    Attributes:
        name: as its users call it.
        marks: texts that a template of this format contains.
        parts: the prompt of a conversation up to where the answer begins.
        ends: special tokens that end an answer.
    """

    name: str
    marks: tuple[str, ...]
    parts: Callable[[Sequence[Message]], Iterator[str]]
    ends: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chat:
    """The format of a model, with the system message that it begins with unless told another."""

    format: ChatFormat
    system: str = ""

    def prompt(self, messages: Sequence[Message]) -> list[str]:
        """The parts of a prompt, for `Tokenizer.encode_parts`.

        Raises:
            UsageError: a role is unknown, or the conversation does not end with the user.
        """
        for message in messages:
            if message.role not in ROLES:
                raise UsageError(f"the role {shown(message.role)} is none of {', '.join(ROLES)}")
        if not messages or messages[-1].role != "user":
            raise UsageError("a conversation to be answered ends with a message of the user")
        if self.system and messages[0].role != "system":
            messages = (Message("system", self.system), *messages)
        return list(self.format.parts(messages))


def _chatml(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        yield from (Special("<|im_start|>"), f"{message.role}\n{message.content}", Special("<|im_end|>"), "\n")
    yield from (Special("<|im_start|>"), "assistant\n")


def _llama2(messages: Sequence[Message]) -> Iterator[str]:
    system = messages[0].content if messages[0].role == "system" else ""
    for number, message in enumerate(messages[1:] if system else messages):
        if message.role == "assistant":
            yield from (f" {message.content.strip()} ", Special("</s>"))
            continue
        begin = f"<<SYS>>\n{system}\n<</SYS>>\n\n" if system and number == 0 else ""
        if number:
            yield Special("<s>")
        yield f"[INST] {begin}{message.content.strip()} [/INST]"


def _llama3(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        yield from (Special("<|start_header_id|>"), message.role, Special("<|end_header_id|>"),
                    f"\n\n{message.content.strip()}", Special("<|eot_id|>"))
    yield from (Special("<|start_header_id|>"), "assistant", Special("<|end_header_id|>"), "\n\n")


FORMATS = (
    ChatFormat("ChatML", ("<|im_start|>", "<|im_end|>"), _chatml, ("<|im_end|>",)),
    ChatFormat("Llama 3", ("<|start_header_id|>", "<|eot_id|>"), _llama3, ("<|eot_id|>", "<|end_of_text|>")),
    ChatFormat("Llama 2", ("[INST]", "<<SYS>>"), _llama2, ("</s>",)),
)


def recognise(template: str) -> Chat:
    """The format of a chat template.

    Raises:
        ModelError: there is no template, or it is of another format.
    """
    if not template:
        raise ModelError("the model has no chat template", hint="it continues texts: pto generate")
    for row in FORMATS:
        if all(mark in template for mark in row.marks):
            system = _DEFAULT_SYSTEM.search(template)
            return Chat(row, system[1] if system and row.name == "ChatML" else "")
    names = ", ".join(row.name for row in FORMATS)
    raise ModelError(f"the chat template is none of {names}", hint="give the whole prompt as a text: pto generate")
