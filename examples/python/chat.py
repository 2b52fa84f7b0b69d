"""A conversation that outlives whoever takes part in it, on Sessile's CHAT.* commands through redis-py.

    chat = Chat(redis.Redis(), "ann")
    chat.say("message-1", "Who wrote Dune?", answer)   # the answer; said twice, it is kept and answered once
    chat.compact(summarise)                            # old turns give way to a summary, unless somebody was faster

What it promises:

- A message has an id, which who writes it makes up. Whatever fails, say it again with the same id: it is kept once, and so is its answer.
- What a model is shown fits its context: the system's turn and the summary always, then as many of the newest turns as there is room for.
- A summary replaces the turns that it was made of and no others, however long the model took: what was said meanwhile stays, and a
  summary of a conversation that was compacted meanwhile is refused.

What it must never do: read the conversation, change it, and write it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import redis

SYSTEM = "You are an echo."
# A conversation that nobody goes on with is forgotten after this time.
KEPT_S = 30 * 24 * 3600


@dataclass(frozen=True)
class Turn:
    """What somebody said. Indexes are never used twice."""

    index: int
    role: str
    content: str
    tokens: int


@dataclass(frozen=True)
class Window:
    """Turns of a conversation, oldest first, and the epoch that they were read at, which rises when turns go."""

    turns: list[Turn]
    epoch: int
    tokens: int


class Chat:
    """One conversation."""

    def __init__(self, client: redis.Redis, name: str, *, window_tokens: int = 400, system: str = SYSTEM):
        self._client = client
        self._key = f"chat:{name}"
        self._window_tokens = window_tokens
        # Whoever comes first says it; to all others it is a repetition.
        self.append("system", system, message_id="system")

    def append(self, role: str, content: str, *, message_id: str, tokens: int | None = None) -> int:
        """Appends a turn, once for each id; its index. Without `tokens`, by your model's tokenizer, a quarter of its bytes is taken for them."""
        counted = () if tokens is None else ("TOKENS", tokens)
        reply = self._client.execute_command("CHAT.APPEND", self._key, role, content, *counted, "ID", message_id)
        self._client.expire(self._key, KEPT_S)
        return _pairs(reply)["index"]

    def window(self) -> Window:
        """What a model is shown."""
        return self._window("MAXTOKENS", self._window_tokens, "KEEP", "system")

    def all(self) -> Window:
        """All that is there."""
        return self._window()

    def _window(self, *limits: str | int) -> Window:
        reply = _pairs(self._client.execute_command("CHAT.WINDOW", self._key, *limits))
        turns = [Turn(**{name: _text(value) for name, value in _pairs(turn).items()}) for turn in reply["turns"]]
        return Window(turns, reply["epoch"], reply["tokens"])

    def say(self, message_id: str, content: str, answer: Callable[[list[Turn]], str]) -> str:
        """Says something, and gives the answer: the model's, or, if this was said before, the one that was given then."""
        said = self.append("user", content, message_id=f"{message_id}:said")
        shown = _up_to(said, self.window().turns)
        # Said before, and gone: the model sees what was said, if nothing else.
        shown = shown or [Turn(said, "user", content, 0)]
        answered = self.append("assistant", answer(shown), message_id=f"{message_id}:answer")
        kept = [turn.content for turn in self.all().turns if turn.index == answered]
        return kept[0] if kept else "(That was answered, and has been summed up since.)"

    def compact(self, summarise: Callable[[list[Turn]], str], *, keep_turns: int = 6) -> bool:
        """Replaces all but the newest turns by a summary; false if there is nothing to replace, or somebody else did it meanwhile."""
        before = self.all()
        old = [turn for turn in before.turns if turn.role != "system"][:-keep_turns or None]
        if len(old) < 2:
            return False
        # A model takes seconds for this. Nobody waits for it: turns are appended meanwhile, and stay.
        summary = summarise(old)
        words = ("UPTO", old[-1].index, summary, "IFEPOCH", before.epoch, "KEEP", "system")
        try:
            self._client.execute_command("CHAT.COMPACT", self._key, *words)
        except redis.ResponseError as error:
            if not str(error).startswith("CONFLICT"):
                raise
            return False
        return True


def _up_to(index: int, turns: Iterable[Turn]) -> list[Turn]:
    """Turns up to the one with an index, which ends the list; none if it isn't there."""
    shown: list[Turn] = []
    for turn in turns:
        shown.append(turn)
        if turn.index == index:
            return shown
    return []


def _pairs(reply: dict | list) -> dict:
    """A map of a reply: RESP3 has maps, RESP2 flat arrays."""
    if isinstance(reply, dict):
        return {_text(name): value for name, value in reply.items()}
    return {_text(name): value for name, value in zip(reply[::2], reply[1::2])}


def _text(value: bytes | str | int) -> str | int:
    """Texts are bytes in a reply, unless the client decodes them."""
    return value.decode() if isinstance(value, bytes) else value
