"""A chat in a terminal: `python main.py [name]`. What was said before, in another terminal or another year, is still known.

    /history   what there is
    /compact   sum up now; it happens by itself as well
    /quit      or the end of the input

SESSILE_URL says where Sessile is: redis://127.0.0.1:6379
"""

import os
import sys
import uuid

import model
import redis

from chat import Chat

# A conversation with more tokens than this is summed up.
COMPACT_TOKENS = 800


def main() -> None:
    client = redis.Redis.from_url(os.environ.get("SESSILE_URL", "redis://127.0.0.1:6379"))
    chat = Chat(client, sys.argv[1] if len(sys.argv) > 1 else "ann")
    before = [turn for turn in chat.all().turns if turn.role != "system"]
    print(f"{len(before)} turns so far. Say something, or /history, /compact, /quit.", flush=True)
    for line in map(str.strip, sys.stdin):
        if line == "/quit":
            break
        if line == "/history":
            for turn in chat.all().turns:
                print(f"{turn.index:>4} {turn.role}: {turn.content}", flush=True)
        elif line == "/compact":
            print("Summed up." if chat.compact(model.summarise) else "There is nothing to sum up.", flush=True)
        elif line:
            print(chat.say(str(uuid.uuid4()), line, model.answer), flush=True)
            if chat.all().tokens > COMPACT_TOKENS:
                chat.compact(model.summarise)


if __name__ == "__main__":
    main()
