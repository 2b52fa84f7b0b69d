"""What keeps sessions, histories, rates: Flask-Session, django's cache and django-redis, starsessions, aiohttp-session, `limits`, LangChain's and the OpenAI
agents' histories. The first wrong answer raises, which ends the process with status 1."""

import asyncio
import os
import threading
import time

import redis
import redis.asyncio

PORT = int(os.environ["REDIS_PORT"])
URL = f"redis://127.0.0.1:{PORT}/0"


def flask_session():
    from flask import Flask, session
    from flask_session import Session

    store = redis.Redis(port=PORT)
    store.flushall()
    app = Flask(__name__)
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=store, PERMANENT_SESSION_LIFETIME=100, SESSION_KEY_PREFIX="flask:")
    Session(app)

    @app.post("/login/<user>")
    def login(user):
        app.session_interface.regenerate(session)
        session["user"] = user
        return "in"

    @app.get("/me")
    def me():
        session["seen"] = session.get("seen", 0) + 1
        return {"user": session.get("user"), "seen": session["seen"]}

    @app.post("/logout")
    def logout():
        session.clear()
        return "out"

    first, second = app.test_client(), app.test_client()
    assert first.post("/login/ann").status_code == 200 and second.post("/login/bob").status_code == 200
    assert first.get("/me").json == {"user": "ann", "seen": 1}
    assert first.get("/me").json == {"user": "ann", "seen": 2}
    assert second.get("/me").json == {"user": "bob", "seen": 1}
    assert all(90 < store.ttl(key) <= 100 for key in store.scan_iter("flask:*"))
    stolen = first.get_cookie("session").value
    assert first.post("/logout").status_code == 200
    thief = app.test_client()
    thief.set_cookie("session", stolen)
    assert thief.get("/me").json["user"] is None
    assert second.get("/me").json["user"] == "bob"


def django_caches():
    import django
    from django.conf import settings

    settings.configure(
        CACHES={
            "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": URL},
            "other": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": URL, "KEY_PREFIX": "dr"},
        },
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        INSTALLED_APPS=["django.contrib.sessions"],
        USE_TZ=True,
    )
    django.setup()
    from django.contrib.sessions.backends.cache import SessionStore
    from django.core.cache import caches

    default, other = caches["default"], caches["other"]
    default.set_many({"a": 1, "b": {"deep": [1, 2]}}, timeout=50)
    assert default.get_many(["a", "b", "c"]) == {"a": 1, "b": {"deep": [1, 2]}}
    assert default.incr("a") == 2 and default.touch("a", 100) and default.add("a", 3) is False
    other.set("x", "y", timeout=30)
    assert 0 < other.ttl("x") <= 30 and list(other.iter_keys("*")) == ["x"]
    assert other.delete_pattern("*") == 1 and other.get("x") is None
    with other.lock("a lock", timeout=5):
        assert other.get("x") is None
    session = SessionStore()
    session["user"] = 7
    session.save()
    session.cycle_key()
    key = session.session_key
    assert SessionStore(key)["user"] == 7
    session.flush()
    assert SessionStore(key).get("user") is None


def rates():
    from limits import parse, storage, strategies

    store = storage.storage_from_string(URL)
    assert store.check() and store.reset() is not None
    for strategy in (strategies.FixedWindowRateLimiter, strategies.MovingWindowRateLimiter, strategies.SlidingWindowCounterRateLimiter):
        limiter = strategy(store)
        rate = parse("5/minute")
        name = strategy.__name__
        results, lock = [], threading.Lock()

        def hit():
            allowed = limiter.hit(rate, name, "user")
            with lock:
                results.append(allowed)

        threads = [threading.Thread(target=hit) for _ in range(12)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert results.count(True) == 5, (name, results)
        stats = limiter.get_window_stats(rate, name, "user")
        assert stats.remaining == 0 and stats.reset_time > time.time(), (name, stats)
        assert limiter.test(parse("6/minute"), name, "nobody")
        limiter.clear(rate, name, "user")
        assert limiter.hit(rate, name, "user")


def langchain_history():
    from langchain_community.chat_message_histories import RedisChatMessageHistory
    from langchain_core.messages import AIMessage, HumanMessage

    history = RedisChatMessageHistory("talk", url=URL, ttl=60)
    history.clear()
    for turn in range(30):
        history.add_user_message(f"question {turn}")
        history.add_ai_message(f"answer {turn}")
    messages = RedisChatMessageHistory("talk", url=URL).messages
    assert len(messages) == 60
    assert messages[0] == HumanMessage("question 0") and messages[-1] == AIMessage("answer 29")
    history.clear()
    assert RedisChatMessageHistory("talk", url=URL).messages == []


async def agents_history():
    from agents.extensions.memory import RedisSession

    session = RedisSession.from_url("user-7", url=URL, ttl=60)
    await session.clear_session()
    for turn in range(40):
        await session.add_items([{"role": "user", "content": f"question {turn}"}, {"role": "assistant", "content": f"answer {turn}"}])
    assert len(await session.get_items()) == 80
    assert [item["content"] for item in await session.get_items(limit=3)] == ["answer 38", "question 39", "answer 39"]
    assert (await session.pop_item())["content"] == "answer 39"
    # Several writers at once: no turn is lost, and none comes twice.
    others = [RedisSession.from_url("user-8", url=URL) for _ in range(4)]
    await others[0].clear_session()
    await asyncio.gather(*(other.add_items([{"role": "user", "content": f"{number}-{turn}"}]) for turn in range(25) for number, other in enumerate(others)))
    contents = [item["content"] for item in await others[0].get_items()]
    assert sorted(contents) == sorted(f"{number}-{turn}" for turn in range(25) for number in range(4))
    for closing in [session, *others]:
        await closing.close()


async def starlette_sessions():
    from starsessions.stores.redis import RedisStore

    store = RedisStore(connection=redis.asyncio.Redis(port=PORT), prefix="star:")
    await store.write("id", b"data", lifetime=60, ttl=60)
    assert await store.read("id", lifetime=60) == b"data"
    await store.remove("id")
    assert await store.read("id", lifetime=60) == b""


async def aiohttp_sessions():
    from aiohttp import ClientSession, CookieJar, web
    from aiohttp_session import get_session, setup
    from aiohttp_session.redis_storage import RedisStorage

    async def visit(request):
        session = await get_session(request)
        session["visits"] = session.get("visits", 0) + 1
        return web.json_response(session["visits"])

    app = web.Application()
    setup(app, RedisStorage(redis.asyncio.Redis(port=PORT), max_age=60))
    app.router.add_get("/", visit)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as browser:
        seen = [await (await browser.get(f"http://127.0.0.1:{port}/")).json() for _ in range(3)]
    assert seen == [1, 2, 3], seen
    await runner.cleanup()


flask_session()
django_caches()
rates()
langchain_history()
asyncio.run(agents_history())
asyncio.run(starlette_sessions())
asyncio.run(aiohttp_sessions())
print("done")
