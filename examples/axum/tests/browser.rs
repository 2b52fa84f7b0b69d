//! The application as browsers see it: over HTTP, with a jar of cookies that keeps the rules of browsers, and with forms that are read off the pages.

use sessile::{Db, Options};
use sessile_example_axum::{Application, IDLE, MAX, PER_USER, audit, router};
use sessile_wal::sim::SimClock;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The application on a port, and its clock, which only the test moves on.
struct Site {
    address: SocketAddr,
    clock: Arc<SimClock>,
    db: Db,
    trail: Receiver<String>,
    /// Everything that any browser was sent, for a look at what should not be in it.
    sent: Arc<Mutex<Vec<String>>>,
    _dir: tempfile::TempDir,
}

impl Site {
    fn open() -> Site {
        let dir = tempfile::tempdir().expect("made");
        let clock = Arc::new(SimClock::new(1_800_000_000_000));
        let db = Options::new().clock(Arc::clone(&clock) as _).open(dir.path().join("data")).expect("opens");
        let (tell, trail) = channel();
        // The thread ends with the database, which ends with the process.
        drop(audit::begin(db.clone(), move |line| drop(tell.send(line))));
        let app = router(Application::new(&db).expect("made"));
        let (told, hear) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_io().build();
            runtime.expect("built").block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
                told.send(listener.local_addr().expect("known")).expect("heard");
                axum::serve(listener, app).await.expect("served");
            });
        });
        let address = hear.recv().expect("it listens");
        Site { address, clock, db, trail, sent: Arc::default(), _dir: dir }
    }

    fn browser(&self, agent: &str) -> Browser {
        Browser { address: self.address, agent: agent.into(), jar: BTreeMap::new(), sent: self.sent.clone() }
    }

    fn pass(&self, time: Duration) {
        self.clock.advance_ms(u64::try_from(time.as_millis()).expect("short"));
    }

    /// The next thing on the trail of audit, but for its time.
    fn told(&self) -> String {
        let line = self.trail.recv_timeout(Duration::from_secs(60)).expect("told");
        line.split_once(' ').expect("a time").1.to_owned()
    }
}

/// Where a request comes from, in the browser's eyes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// A page of the site.
    Page,
    /// The same, in a browser that does not tell by `Sec-Fetch-Site`.
    OldPage,
    /// The address bar.
    User,
    /// A page of another site.
    Elsewhere,
    /// The same, in a browser that has never heard of `SameSite`.
    ElsewhereOld,
}

struct Browser {
    address: SocketAddr,
    agent: String,
    jar: BTreeMap<String, String>,
    sent: Arc<Mutex<Vec<String>>>,
}

#[derive(Debug)]
struct Page {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Page {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| &value[..])
    }

    /// The value of the first hidden field of this name in the form with this action, or the n-th such form.
    fn hidden(&self, action: &str, nth: usize, name: &str) -> String {
        let form =
            self.body.split("<form").filter(|form| form.contains(&format!("action={action}>"))).nth(nth);
        let form = form.unwrap_or_else(|| panic!("no form {nth} for {action} in {}", self.body));
        let from = format!("name={name} value=\"");
        let value = form.split_once(&from).unwrap_or_else(|| panic!("no {name} in {form}")).1;
        value.split_once('"').expect("quoted").0.to_owned()
    }

    /// The text of the element with an id.
    fn text(&self, id: &str) -> &str {
        let from = format!("id={id}>");
        let text = self.body.split_once(&from).unwrap_or_else(|| panic!("no {id} in {}", self.body)).1;
        text.split_once('<').expect("closed").0
    }

    fn turns(&self) -> Vec<&str> {
        let list =
            self.body.split_once("<ol id=chat>").expect("a chat").1.split_once("</ol>").expect("closed").0;
        list.split("</li>").filter_map(|turn| turn.split_once('>').map(|(_, text)| text)).collect()
    }

    fn is_login(&self) -> bool {
        self.body.contains("action=/login") && !self.body.contains("form_token")
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

impl Browser {
    /// One request, no redirect followed.
    fn request(&mut self, method: &str, path: &str, body: &str, from: From) -> Page {
        let mut stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
        let host = format!("localhost:{}", self.address.port());
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nUser-Agent: {}\r\n",
            self.agent
        );
        let (site, origin) = match from {
            From::Page => (Some("same-origin"), format!("http://{host}")),
            From::OldPage => (None, format!("http://{host}")),
            From::User => (Some("none"), String::new()),
            From::Elsewhere => (Some("cross-site"), "https://evil.example".into()),
            From::ElsewhereOld => (None, "https://evil.example".into()),
        };
        if let Some(site) = site {
            request += &format!("Sec-Fetch-Site: {site}\r\n");
        }
        if method == "POST" {
            request += &format!(
                "Origin: {origin}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
                body.len()
            );
        }
        // SameSite=Lax: a cookie goes along with another site's links, not with its forms.
        let is_lax = from == From::Elsewhere && method == "POST";
        if !self.jar.is_empty() && !is_lax {
            let pairs: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request += &format!("Cookie: {}\r\n", pairs.join("; "));
        }
        stream.write_all(format!("{request}\r\n{body}").as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        for (_, cookie) in headers.iter().filter(|(name, _)| name == "set-cookie") {
            self.take(cookie);
        }
        let page = Page { status: status.parse().expect("a number"), headers, body: body.to_owned() };
        for name in ["cache-control", "content-security-policy", "x-content-type-options"] {
            assert!(page.header(name).is_some(), "{path} is without {name}");
        }
        assert_eq!(page.header("cache-control"), Some("no-store"));
        let besides: Vec<String> = page
            .headers
            .iter()
            .filter(|(name, _)| name != "set-cookie")
            .map(|(_, value)| value.clone())
            .collect();
        self.sent.lock().expect("whole").push(besides.join("\n") + &page.body);
        page
    }

    /// Puts a cookie into the jar by the rules of `__Host-`: secure, of this host only, for all of it.
    fn take(&mut self, cookie: &str) {
        let mut parts = cookie.split("; ");
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("a pair");
        let attributes: Vec<&str> = parts.collect();
        assert!(name.starts_with("__Host-"), "{cookie}");
        for needed in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
            assert!(attributes.contains(&needed), "{cookie} is without {needed}");
        }
        assert!(!attributes.iter().any(|attribute| attribute.starts_with("Domain")), "{cookie}");
        if attributes.contains(&"Max-Age=0") {
            self.jar.remove(name);
        } else {
            self.jar.insert(name.into(), value.into());
        }
    }

    fn get(&mut self, path: &str) -> Page {
        let page = self.request("GET", path, "", From::User);
        self.follow(page)
    }

    fn follow(&mut self, page: Page) -> Page {
        if page.status == 303 {
            let to = page.header("location").expect("a place").to_owned();
            return self.request("GET", &to, "", From::Page);
        }
        page
    }

    fn post_from(&mut self, from: From, path: &str, fields: &[(&str, &str)]) -> Page {
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let page = self.request("POST", path, &pairs.join("&"), from);
        self.follow(page)
    }

    fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.post_from(From::Page, path, fields)
    }

    fn log_in(&mut self, user: &str) -> Page {
        let page = self.post("/login", &[("user", user), ("password", "sessile")]);
        assert_eq!(page.text("user"), user, "{page:?}");
        page
    }

    /// Says something by the form of the chat's page.
    fn say(&mut self, text: &str) -> Page {
        let page = self.get("/");
        let (form_token, turn_id) = (page.hidden("/say", 0, "form_token"), page.hidden("/say", 0, "turn_id"));
        self.post("/say", &[("form_token", &form_token), ("turn_id", &turn_id), ("text", text)])
    }

    fn token(&self) -> &str {
        self.jar.values().next().expect("logged in")
    }
}

#[expect(clippy::disallowed_methods, reason = "the test looks at what is on the real disk")]
fn files(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("readable").flatten();
    let text = |content: Vec<u8>| String::from_utf8_lossy(&content).into_owned();
    entries.map(|entry| text(std::fs::read(entry.path()).expect("readable"))).collect()
}

#[test]
fn somebody_logs_in_chats_and_logs_out() {
    let site = Site::open();
    let mut browser = site.browser("Firefox");
    assert!(browser.get("/").is_login());
    assert!(browser.get("/sessions").is_login(), "nothing is shown to who is not logged in");
    let wrong = browser.post("/login", &[("user", "ann"), ("password", "wrong")]);
    assert_eq!((wrong.status, browser.jar.len()), (401, 0));
    let nobody = browser.post("/login", &[("user", "nobody"), ("password", "sessile")]);
    assert_eq!((nobody.status, &nobody.body), (401, &wrong.body), "who there is is nobody's business");
    browser.log_in("ann");
    assert!(site.told().starts_with("created "));

    assert!(browser.get("/").turns().is_empty());
    let page = browser.say("Hello <b>there</b> & \"you\"");
    assert_eq!(page.turns().len(), 3);
    assert_eq!(page.turns()[1], "Hello &lt;b&gt;there&lt;/b&gt; &amp; &quot;you&quot;");
    assert!(page.turns()[2].starts_with("You said: Hello"));
    assert_eq!(page.text("said"), "1");

    // A form that is sent twice says it once.
    let before = browser.get("/");
    let fields = [
        ("form_token", &before.hidden("/say", 0, "form_token")[..]),
        ("turn_id", &before.hidden("/say", 0, "turn_id")),
        ("text", "Once"),
    ];
    browser.post("/say", &fields);
    let page = browser.post("/say", &fields);
    assert_eq!((page.turns().len(), page.text("said")), (5, "2"));

    // A chat is a user's, and outlives his sessions.
    let form_token = page.hidden("/logout", 0, "form_token");
    let stolen = browser.token().to_owned();
    let page = browser.post("/logout", &[("form_token", &form_token)]);
    assert!(page.is_login() && browser.jar.is_empty());
    assert!(page.header("clear-site-data").is_some());
    assert!(site.told().starts_with("ended "));
    browser.jar.insert("__Host-id".into(), stolen);
    assert!(browser.get("/").is_login(), "a cookie that was kept still works");
    let page = browser.log_in("ann");
    assert_eq!((page.turns().len(), page.text("said")), (5, "0"));
    assert!(site.browser("Safari").log_in("ben").turns().is_empty());
}

#[test]
fn a_chat_that_grows_is_summed_up() {
    let site = Site::open();
    let mut browser = site.browser("Firefox");
    browser.log_in("ann");
    let mut turns = 0;
    for number in 0..30 {
        let page = browser.say(&format!("Number {number}, and so on and so on and so on and so on."));
        turns = page.turns().len();
        assert!(turns <= 30, "{turns} turns");
        assert!(page.turns()[turns - 1].contains(&format!("Number {number},")));
    }
    let page = browser.get("/");
    assert!(
        page.body.contains("class=\"summary\"") && page.body.contains("class=\"system\""),
        "{}",
        page.body
    );
    assert_eq!((page.text("said"), page.turns().len()), ("30", turns));
}

#[test]
fn each_login_has_another_token_and_the_one_before_ends() {
    let site = Site::open();
    let mut browser = site.browser("Firefox");
    // Planted by somebody else: it is no session, and does not become one.
    browser.jar.insert("__Host-id".into(), "A".repeat(43));
    browser.log_in("ann");
    let first = browser.token().to_owned();
    assert_ne!(first, "A".repeat(43));
    browser.log_in("ann");
    assert_ne!(browser.token(), first);
    let mut other = site.browser("Firefox");
    other.jar.insert("__Host-id".into(), first);
    assert!(other.get("/").is_login());
    // With two cookies of the name, neither counts.
    let token = browser.token().to_owned();
    other.jar = [("__Host-id".to_owned(), format!("{token}; __Host-id={token}"))].into();
    assert!(other.get("/").is_login());
}

#[test]
fn the_page_of_sessions_shows_them_and_ends_one_or_all_others() {
    let site = Site::open();
    let (mut laptop, mut phone, mut tablet) =
        (site.browser("Laptop"), site.browser("Phone <script>"), site.browser("Tablet"));
    for browser in [&mut laptop, &mut phone, &mut tablet] {
        browser.log_in("ann");
        site.pass(Duration::from_secs(61));
    }
    let mut stranger = site.browser("Stranger");
    stranger.log_in("ben");
    let page = laptop.get("/sessions");
    assert!(page.body.contains("Phone &lt;script&gt;") && !page.body.contains("<script>"));
    assert_eq!(page.body.matches("<li").count(), 3);
    assert!(!page.body.contains("Stranger"));
    assert_eq!(page.body.matches("this one").count(), 1);
    // Most recently seen first: this one, then the tablet.
    let of_tablet = page.hidden("/sessions/revoke", 1, "handle");
    assert_ne!(page.hidden("/sessions/revoke", 0, "handle"), of_tablet);
    let form_token = page.hidden("/sessions/revoke", 1, "form_token");

    // Without the password nothing ends, and so for another user's session.
    let fields = |password: &'static str| {
        [("form_token", &form_token[..]), ("handle", &of_tablet[..]), ("password", password)]
    };
    assert_eq!(laptop.post("/sessions/revoke", &fields("wrong")).status, 401);
    assert!(!tablet.get("/").is_login());
    let own_page = stranger.get("/sessions");
    let his_token = own_page.hidden("/sessions/revoke", 0, "form_token");
    let his = [("form_token", &his_token[..]), ("handle", &of_tablet[..]), ("password", "sessile")];
    assert_eq!(stranger.post("/sessions/revoke", &his).status, 400);
    assert!(!tablet.get("/").is_login());

    // With it that one ends, and ours has another token.
    let before = laptop.token().to_owned();
    let page = laptop.post("/sessions/revoke", &fields("sessile"));
    assert_eq!(page.body.matches("<li").count(), 2, "{}", page.body);
    assert_ne!(laptop.token(), before);
    assert!(tablet.get("/").is_login());
    assert!(!phone.get("/").is_login());

    let form_token = page.hidden("/sessions/revoke-others", 0, "form_token");
    let page =
        laptop.post("/sessions/revoke-others", &[("form_token", &form_token), ("password", "sessile")]);
    assert_eq!(page.body.matches("<li").count(), 1, "{}", page.body);
    assert!(phone.get("/").is_login());

    phone.log_in("ann");
    let form_token = phone.get("/sessions").hidden("/logout-everywhere", 0, "form_token");
    assert!(phone.post("/logout-everywhere", &[("form_token", &form_token)]).is_login());
    assert!(laptop.get("/").is_login() && phone.get("/").is_login());
    assert!(!stranger.get("/").is_login());
}

#[test]
fn requests_that_other_sites_send_are_refused() {
    let site = Site::open();
    let mut browser = site.browser("Firefox");
    browser.log_in("ann");
    let form_token = browser.get("/").hidden("/say", 0, "form_token");
    let turn = |id: &'static str, token: &str| {
        [("form_token", token.to_owned()), ("turn_id", id.into()), ("text", "Send me your money".into())]
    };
    let mut say = |from, id, token: &str| {
        let fields = turn(id, token);
        let fields = fields.each_ref().map(|(name, value)| (*name, &value[..]));
        let status = browser.post_from(from, "/say", &fields).status;
        (status, browser.get("/").turns().len())
    };
    // Even with the form's token, which no other site can know.
    assert_eq!(say(From::Elsewhere, "a", &form_token), (403, 0));
    assert_eq!(say(From::ElsewhereOld, "b", &form_token), (403, 0));
    // A request that no page sent, with the cookie: the second lock.
    assert_eq!(say(From::Page, "c", "guessed"), (403, 0));
    assert_eq!(say(From::Page, "d", ""), (403, 0));
    assert_eq!(say(From::OldPage, "e", &form_token), (200, 3));
    // Neither does anybody find himself in somebody else's account.
    let mut victim = site.browser("Firefox");
    let forged = victim.post_from(From::Elsewhere, "/login", &[("user", "ben"), ("password", "sessile")]);
    assert_eq!((forged.status, victim.jar.len()), (403, 0));
    for path in ["/logout", "/logout-everywhere", "/sessions/revoke", "/sessions/revoke-others"] {
        let fields = [("form_token", "guessed"), ("password", "sessile"), ("handle", "")];
        assert_eq!(browser.post(path, &fields).status, 403, "{path}");
    }
    assert!(!browser.get("/").is_login());
    // A link from elsewhere is followed as who one is.
    let page = browser.request("GET", "/", "", From::Elsewhere);
    assert_eq!(page.text("user"), "ann");
}

#[test]
fn sessions_end_when_idle_and_at_the_latest_after_their_time() {
    let site = Site::open();
    let (mut idle, mut busy) = (site.browser("Idle"), site.browser("Busy"));
    idle.log_in("ann");
    busy.log_in("ann");
    let minute = Duration::from_secs(60);
    site.pass(IDLE - minute);
    assert!(!busy.get("/").is_login());
    site.pass(minute);
    assert!(idle.get("/").is_login(), "it is idle for {IDLE:?}");
    let mut passed = IDLE;
    while passed + IDLE / 2 < MAX {
        assert!(!busy.get("/").is_login(), "after {passed:?}");
        site.pass(IDLE / 2);
        passed += IDLE / 2;
    }
    assert!(!busy.get("/").is_login());
    site.pass(IDLE / 2);
    assert!(busy.get("/").is_login(), "it is older than {MAX:?}");
    let told: Vec<String> =
        (0..4).map(|_| site.told().split(' ').next().expect("a word").to_owned()).collect();
    assert_eq!(told, ["created", "created", "expired", "expired"]);
}

#[test]
fn passwords_and_sessions_are_limited() {
    let site = Site::open();
    let mut browser = site.browser("Firefox");
    let mut guess = |password: &str| browser.post("/login", &[("user", "ann"), ("password", password)]);
    for _ in 0..5 {
        assert_eq!(guess("wrong").status, 401);
    }
    let page = guess("sessile");
    assert_eq!(page.status, 429, "the right one is throttled, too");
    let wait_s: u64 = page.header("retry-after").expect("said").parse().expect("a number");
    site.pass(Duration::from_secs(wait_s));
    assert_eq!(guess("sessile").status, 200);
    let mut browsers: Vec<Browser> =
        (0..=PER_USER).map(|number| site.browser(&format!("{number}"))).collect();
    for browser in &mut browsers {
        site.pass(Duration::from_secs(12));
        browser.log_in("ben");
    }
    let live: Vec<bool> = browsers.iter_mut().map(|browser| !browser.get("/").is_login()).collect();
    assert_eq!(live, [false, true, true, true, true, true], "the least recently seen made room");
}

#[test]
fn tokens_are_nowhere_but_in_cookies() {
    let site = Site::open();
    let mut tokens = Vec::new();
    for user in ["ann", "ben"] {
        let mut browser = site.browser("Firefox");
        browser.log_in(user);
        tokens.push(browser.token().to_owned());
        browser.say("Hello");
        let page = browser.get("/sessions");
        let form_token = page.hidden("/sessions/revoke-others", 0, "form_token");
        browser.post("/sessions/revoke-others", &[("form_token", &form_token), ("password", "sessile")]);
        tokens.push(browser.token().to_owned());
        let form_token = browser.get("/").hidden("/logout", 0, "form_token");
        browser.post("/logout", &[("form_token", &form_token)]);
    }
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 4);
    site.db.flush().expect("flushed");
    let mut seen = site.sent.lock().expect("whole").clone();
    seen.extend(site.trail.try_iter());
    seen.extend(files(&site._dir.path().join("data")));
    assert!(seen.len() > 10);
    for token in &tokens {
        assert!(!seen.iter().any(|one| one.contains(&token[..])), "a token got out");
    }
}
