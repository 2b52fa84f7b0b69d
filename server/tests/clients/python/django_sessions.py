"""A Django application whose sessions live in its Redis cache, and the users who use it: they log in, look, fill a
cart, log out. Every answer is checked against what the user knows.

Driven by server/tests/clients.rs, in the words that node/express_sessions.mjs explains: prints "loaded", reads
"verify" and "end", prints "verified <n>"; a broken promise is printed and ends the process with status 1.
"""

import logging
import os
import random
import sys
import threading
import time

import django
from django.conf import settings
from django.core.cache import cache
from django.http import HttpResponse, JsonResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="not a secret in a test",
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    INSTALLED_APPS=["django.contrib.sessions"],
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SESSION_SAVE_EVERY_REQUEST=True,  # every look extends the session
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/1",
        }
    },
    LOGGING_CONFIG=None,
)
django.setup()
logging.disable()  # what fails while the server is down is counted, not told

from django.test import Client  # noqa: E402  (needs the settings)

USERS = 12
SESSIONS_BEFORE_LOADED = 60
CLOSED_REMEMBERED = 40


def visible(session):
    return {"user": session["user"], "cart": session["cart"]}


def login(request, user):
    request.session.flush()
    request.session["user"] = user
    request.session["cart"] = []
    if "seconds" in request.GET:
        request.session.set_expiry(int(request.GET["seconds"]))
    return JsonResponse(visible(request.session))


def me(request):
    if "user" not in request.session:
        return HttpResponse(status=401)
    return JsonResponse(visible(request.session))


def add(request, item):
    if "user" not in request.session:
        return HttpResponse(status=401)
    request.session["cart"].append(item)
    request.session.modified = True
    return JsonResponse(visible(request.session))


def logout(request):
    request.session.flush()
    return HttpResponse()


urlpatterns = [path("login/<user>", login), path("me", me), path("cart/<item>", add), path("logout", logout)]


def broken(promise):
    print("BROKEN", promise, flush=True)
    os._exit(1)


def ask(cookie, where):
    """One request through the whole application: (status, body, session cookie). 500: the store failed."""
    client = Client()
    if cookie:
        client.cookies["sessionid"] = cookie
    try:
        response = client.get("/" + where)
    except Exception:
        return 500, None, None
    body = response.json() if response.headers["Content-Type"] == "application/json" else None
    # After a logout the cookie is there, emptied.
    given = response.cookies.get("sessionid")
    return response.status_code, body, given.value if given else cookie


stopping = threading.Event()
created = 0
serial = 0
lock = threading.Lock()


class User:
    """While the load goes on, 401 says nothing: Django takes a cache that fails for a session that is not there. The
    user then stops, and the verification, with the server back, tells a lost session from a failed look."""

    def __init__(self, name):
        self.name = name
        self.cookie = None
        self.states = []  # what the session may hold: two while a change is unanswered
        self.closed = []

    def work(self):
        while not stopping.is_set() and self.step():
            pass

    def step(self):
        if not self.cookie:
            return self.login()
        dice = random.random()
        return self.look() if dice < 0.5 else self.add() if dice < 0.88 else self.logout()

    def login(self):
        global created
        status, body, cookie = ask(None, f"login/{self.name}")
        if status != 200:
            return False
        self.cookie, self.states = cookie, [body]
        if body != {"user": self.name, "cart": []}:
            broken(f"{self.name} logs in and sees {body}")
        with lock:
            created += 1
        return True

    def look(self):
        status, body, _ = ask(self.cookie, "me")
        if status in (401, 500):
            return False
        if body != self.states[0]:
            broken(f"{self.name} sees {status} {body}, not {self.states}")
        return True

    def add(self):
        global serial
        with lock:
            serial += 1
            item = f"item{serial}"
        after = {"user": self.name, "cart": self.states[0]["cart"] + [item]}
        self.states.append(after)
        status, _, _ = ask(self.cookie, f"cart/{item}")
        if status != 200:
            return False
        self.states = [after]
        return True

    def logout(self):
        self.states.append(None)
        status, _, _ = ask(self.cookie, "logout")
        if status != 200:
            return False
        self.closed = [self.cookie, *self.closed][:CLOSED_REMEMBERED]
        self.cookie = None
        return True

    def verify(self):
        for cookie in self.closed:
            status, _, _ = ask(cookie, "me")
            if status != 401:
                broken(f"{self.name}: a session that was logged out answers {status}")
        if not self.cookie:
            return len(self.closed)
        status, body, _ = ask(self.cookie, "me")
        if status == 500 or body not in self.states:
            broken(f"{self.name} finds {status} {body}, promised was {self.states}")
        if body is None:
            self.cookie = None
        self.states = [body]
        return len(self.closed) + 1


users = [User(f"user{number}") for number in range(USERS)]
threads = []


def load():
    stopping.clear()
    threads[:] = [threading.Thread(target=user.work, daemon=True) for user in users]
    for thread in threads:
        thread.start()


def pause():
    stopping.set()
    for thread in threads:
        thread.join()


def wait_for_the_server():
    """Each of the pool's connections may break once before it notices that the server is back."""
    while True:
        try:
            cache.set("ready", 1)
            return
        except Exception:
            time.sleep(0.01)


load()
while created < SESSIONS_BEFORE_LOADED:
    time.sleep(0.005)
brief_status, _, brief_cookie = ask(None, "login/brief?seconds=1")
brief_deadline = time.monotonic() + 1
print("loaded", flush=True)

for line in sys.stdin:
    pause()
    if line.strip() == "end":
        break
    wait_for_the_server()
    if brief_status == 200:
        time.sleep(max(0.0, brief_deadline + 0.3 - time.monotonic()))
        status, _, _ = ask(brief_cookie, "me")
        if status != 401:
            broken(f"a session of one second answers {status} after it")
    print("verified", sum(user.verify() for user in users), flush=True)
    load()
os._exit(0)
