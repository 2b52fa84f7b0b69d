"""examples/python: a conversation that goes on whoever dies, and turns that are appended while summaries are made. The first wrong answer raises, which
ends the process with status 1."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import redis

EXAMPLE = Path(__file__).resolve().parents[4] / "examples" / "python"
sys.path.insert(0, str(EXAMPLE))

import model  # noqa: E402
from chat import Chat, Turn  # noqa: E402

PORT = int(os.environ["REDIS_PORT"])
SPEAKERS, SAID_BY_EACH, COMPACTORS = 4, 60, 3


def terminal(*lines):
    """A run of the program with these lines typed; what it prints."""
    environment = {**os.environ, "SESSILE_URL": f"redis://127.0.0.1:{PORT}", "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        [sys.executable, str(EXAMPLE / "main.py"), "ann"],
        input="".join(f"{line}\n" for line in lines), capture_output=True, text=True, timeout=60, env=environment,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def history_outlives_the_program():
    first = terminal("My name is Ann.", "I like tea.", "/quit")
    assert first[0].startswith("0 turns so far") and first[1].startswith("You said: My name is Ann. (I was shown 2 turns"), first
    second = terminal("/history")
    assert second[0].startswith("4 turns so far"), second
    assert [line.split(maxsplit=2)[1:] for line in second[1:]] == [
        ["system:", "You are an echo."],
        ["user:", "My name is Ann."],
        ["assistant:", first[1]],
        ["user:", "I like tea."],
        ["assistant:", first[2]],
    ], second
    # More than fits: it is summed up by itself, and what was said first is still known.
    many = terminal(*(f"Thing {number} of many things that are said here." for number in range(40)), "/history")
    last = [line for line in many if line.startswith("You said: Thing 39")]
    assert last and int(last[0].split("turns, ")[1].split()[0]) <= 400, last
    summaries = [line for line in many if " summary: " in line]
    assert len(summaries) == 1 and "My name is Ann." in summaries[0] and "Thing 0 of many" in summaries[0], many
    assert "system: You are an echo." in "\n".join(many)


def a_program_that_dies_is_asked_again(client):
    chat = Chat(client, "dies")

    def dies(_):
        raise KeyboardInterrupt

    try:
        chat.say("message-1", "Are you there?", dies)
    except KeyboardInterrupt:
        pass
    again = Chat(client, "dies")
    answer = again.say("message-1", "Are you there?", model.answer)
    assert answer.startswith("You said: Are you there?")
    # Answered already: whatever the model would say now.
    assert Chat(client, "dies").say("message-1", "Are you there?", lambda _: "something else") == answer
    assert [turn.role for turn in again.all().turns] == ["system", "user", "assistant"]
    answers = []
    speakers = [threading.Thread(target=lambda number=number: answers.append(again.say("message-2", "All at once", lambda _: f"answer {number}"))) for number in range(8)]
    for speaker in speakers:
        speaker.start()
    for speaker in speakers:
        speaker.join()
    assert len(answers) == 8 and len(set(answers)) == 1, answers
    assert len(again.all().turns) == 5
    assert 0 < client.ttl("chat:dies") <= 30 * 24 * 3600


def numbers(turns):
    """A summary that says exactly what it stands for."""
    return " ".join(turn.content for turn in turns)


def lists_lose_turns(client):
    """What is done otherwise: read a list, sum it up, write it back."""
    client.rpush("list", *range(10))
    seen = client.lrange("list", 0, -1)
    client.rpush("list", 10)  # while the model sums up
    with client.pipeline() as pipeline:
        pipeline.delete("list").rpush("list", b" ".join(seen[:-2]), *seen[-2:]).execute()
    kept = b" ".join(client.lrange("list", 0, -1)).split()
    print(f"a list that is summed up and written back: 11 turns were appended, {11 - len(kept)} is lost")
    assert len(kept) == 10


def compacting_loses_no_turn(client):
    chat = Chat(client, "busy")
    speaking = SPEAKERS
    done, lock = {True: 0, False: 0}, threading.Lock()
    failures = []

    def guarded(work):
        def run(*arguments):
            try:
                work(*arguments)
            except BaseException as error:  # a thread that dies would be missed by nobody
                failures.append(error)

        return run

    @guarded
    def speak(speaker):
        nonlocal speaking
        try:
            for number in range(SAID_BY_EACH):
                name = f"{speaker}.{number}"
                for _ in range(1 + number % 3):  # some say it again, as after an answer that was lost
                    chat.append("user", name, message_id=name)
        finally:
            with lock:
                speaking -= 1

    @guarded
    def compact():
        while speaking:
            made = chat.compact(numbers, keep_turns=3)
            with lock:
                done[made] += 1

    # One that sums up what is no longer so is refused, each time: somebody appends, which is no matter, and compacts, which is.
    for number in range(12):
        chat.append("user", f"first.{number}", message_id=f"first.{number}")

    def interrupted(turns):
        chat.append("user", "meanwhile", message_id="meanwhile")
        assert chat.compact(numbers, keep_turns=8)
        return numbers(turns)

    assert not chat.compact(interrupted, keep_turns=2)
    assert chat.compact(numbers, keep_turns=2)

    threads = [threading.Thread(target=speak, args=(speaker,)) for speaker in range(SPEAKERS)]
    threads += [threading.Thread(target=compact) for _ in range(COMPACTORS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    turns = chat.all().turns
    kept = [name for turn in turns if turn.role != "system" for name in turn.content.split()]
    said = [f"first.{number}" for number in range(12)] + ["meanwhile"]
    said += [f"{speaker}.{number}" for speaker in range(SPEAKERS) for number in range(SAID_BY_EACH)]
    assert sorted(kept) == sorted(said), f"lost {set(said) - set(kept)}, twice {[name for name in kept if kept.count(name) > 1]}"
    for speaker in range(SPEAKERS):
        own = [name for name in kept if name.startswith(f"{speaker}.")]
        assert own == [f"{speaker}.{number}" for number in range(SAID_BY_EACH)], own
    assert [turn.role for turn in turns].count("summary") == 1 and turns[0] == Turn(0, "system", "You are an echo.", 4)
    assert done[True] > 1, done
    print(f"{len(said)} turns were said while {done[True]} summaries were made and {done[False]} refused or not needed, and 0 are lost")


def main():
    history_outlives_the_program()
    for protocol in (2, 3):
        for decoded in (False, True):
            client = redis.Redis(port=PORT, protocol=protocol, decode_responses=decoded)
            client.flushall()
            a_program_that_dies_is_asked_again(client)
            compacting_loses_no_turn(client)
    lists_lose_turns(redis.Redis(port=PORT))
    print("done")


main()
