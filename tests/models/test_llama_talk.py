"""Conversations: a turn gives what the whole conversation gives, and takes only what is new through the layers."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest

from pto.core.errors import ModelError, UsageError
from pto.models.catalog import find
from pto.models.chat import Chat, ChatFormat, Message
from pto.models.llama.generate import conversation, stream
from pto.models.llama.model import Llama
from pto.models.llama.talk import Conversation
from pto.models.sampling import Sampling


def parts(messages):
    for message in messages:
        yield f"{message.role[0]}: {message.content}\n"
    yield "a: "


@pytest.fixture(scope="module")
def model() -> Llama:
    return replace(Llama.load(find("tiny"), context=160), chat=Chat(ChatFormat("lines", (), parts, ())))


def test_turns_give_what_the_whole_conversation_gives(model):
    talk, said = Conversation(model, "You tell stories."), [Message("system", "You tell stories.")]
    for line in ("Once upon a time", "and then", "the end"):
        said.append(Message("user", line))
        want = list(stream(model.session(), conversation(model, said), limit=15))
        got = list(talk.ask(line, limit=15))
        assert [p.id for p in got] == [p.id for p in want]
        said.append(Message("assistant", "".join(p.text for p in got)))
        assert talk.messages == said


def test_only_what_is_new_is_taken(model, monkeypatch):
    talk, fed = Conversation(model), []
    feed = talk.session.feed
    monkeypatch.setattr(talk.session, "feed", lambda ids: fed.append(len(ids)) or feed(ids))
    list(talk.ask("Once upon a time", limit=12))
    before, length = len(fed), talk.session.length
    list(talk.ask("a", limit=12))
    assert fed[before] < length


def test_an_answer_may_be_left_and_a_long_message_is_not_said(model):
    talk = Conversation(model)
    left = talk.ask("Once", sampling=Sampling(temperature=1.0))
    taken = "".join(p.text for p in islice(left, 4))
    left.close()
    assert talk.messages[-1] == Message("assistant", taken)
    held = talk.messages
    with pytest.raises(UsageError, match="the context is 160 tokens"):
        list(talk.ask("x" * 160))
    assert talk.messages is held
    assert len(list(talk.ask("and", limit=5))) > 0


def test_a_model_without_a_format_does_not_talk(model):
    with pytest.raises(ModelError, match="no chat template"):
        Conversation(replace(model, chat=None))
