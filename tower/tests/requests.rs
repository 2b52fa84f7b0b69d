//! Requests through tower-sessions' own middleware, as a browser makes them. These are the behaviours that tower-sessions asks of every store
//! (`maxcountryman/tower-sessions-stores`, `tests/`), in words of our own: no cookie without a session, unknown and malformed ids, cookie attributes,
//! values from one request to the next, inactivity, the last value removed, another id with the same data, an end.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{Request, header};
use axum::routing::get;
use http_body_util::BodyExt;
use sessile::Db;
use sessile::typed::ClassPolicy;
use sessile_tower::SessileStore;
use std::time::Duration as StdDuration;
use time::Duration;
use tower::ServiceExt;
use tower_sessions::cookie::{Cookie, SameSite};
use tower_sessions::{Expiry, Session, SessionManagerLayer};

/// An application, and a browser that keeps its one cookie.
struct Browser {
    app: Router,
    cookie: Option<String>,
    _dir: tempfile::TempDir,
}

/// What came back.
struct Answer {
    body: String,
    cookie: Option<Cookie<'static>>,
}

impl Browser {
    fn new(expiry: Option<Duration>) -> Browser {
        let dir = tempfile::tempdir().expect("made");
        let db = Db::open(dir.path().join("data")).expect("opens");
        let class = ClassPolicy::new("web", StdDuration::from_secs(86_400), StdDuration::from_secs(604_800));
        let mut layer = SessionManagerLayer::new(SessileStore::new(db, &class).expect("made"));
        if let Some(inactivity) = expiry {
            layer = layer.with_expiry(Expiry::OnInactivity(inactivity));
        }
        let app = Router::new()
            .route("/nothing", get(async |_: Session| "nothing"))
            .route(
                "/put/{value}",
                get(async |session: Session, Path(value): Path<u32>| {
                    session.insert("value", value).await.expect("inserted");
                }),
            )
            .route(
                "/value",
                get(async |session: Session| {
                    format!("{:?}", session.get::<u32>("value").await.expect("readable"))
                }),
            )
            .route(
                "/remove",
                get(async |session: Session| {
                    session.remove::<u32>("value").await.expect("removed");
                }),
            )
            .route("/cycle", get(async |session: Session| session.cycle_id().await.expect("cycled")))
            .route("/flush", get(async |session: Session| session.flush().await.expect("flushed")))
            .layer(layer);
        Browser { app, cookie: None, _dir: dir }
    }

    async fn get(&mut self, path: &str) -> Answer {
        let mut request = Request::builder().uri(path);
        if let Some(value) = &self.cookie {
            request = request.header(header::COOKIE, format!("id={value}"));
        }
        let request = request.body(Body::empty()).expect("built");
        let response = self.app.clone().oneshot(request).await.expect("answered");
        assert!(response.status().is_success(), "{path}: {}", response.status());
        let cookie = response.headers().get(header::SET_COOKIE).map(|value| {
            Cookie::parse(value.to_str().expect("text").to_owned()).expect("a cookie").into_owned()
        });
        if let Some(cookie) = &cookie {
            self.cookie = Some(cookie.value().to_owned()).filter(|value| !value.is_empty());
        }
        let body = response.into_body().collect().await.expect("read").to_bytes();
        Answer { body: String::from_utf8(body.to_vec()).expect("text"), cookie }
    }
}

#[tokio::test]
async fn who_keeps_nothing_gets_no_cookie() {
    let mut browser = Browser::new(Some(Duration::hours(1)));
    assert!(browser.get("/nothing").await.cookie.is_none());
    assert_eq!(browser.get("/value").await.body, "None");
}

#[tokio::test]
async fn an_id_that_was_made_up_is_replaced() {
    for made_up in ["AAAAAAAAAAAAAAAAAAAAAA", "malformed", "%00"] {
        let mut browser = Browser::new(Some(Duration::hours(1)));
        browser.cookie = Some(made_up.into());
        let answer = browser.get("/put/42").await;
        assert_ne!(answer.cookie.expect("set").value(), made_up, "session fixation");
        assert_eq!(browser.get("/value").await.body, "Some(42)");
    }
}

#[tokio::test]
async fn the_cookie_is_what_it_was_asked_to_be() {
    let cookie = Browser::new(Some(Duration::hours(1))).get("/put/42").await.cookie.expect("set");
    assert_eq!((cookie.name(), cookie.path()), ("id", Some("/")));
    assert_eq!((cookie.http_only(), cookie.secure()), (Some(true), Some(true)));
    assert_eq!(cookie.same_site(), Some(SameSite::Strict));
    assert!(cookie.max_age().is_some_and(|age| age <= Duration::hours(1)));
    let cookie = Browser::new(None).get("/put/42").await.cookie.expect("set");
    assert_eq!(cookie.max_age(), None, "it is the browser session's");
}

#[tokio::test]
async fn values_come_back_in_the_next_request() {
    let mut browser = Browser::new(Some(Duration::hours(1)));
    browser.get("/put/42").await;
    assert_eq!(browser.get("/value").await.body, "Some(42)");
    browser.get("/put/43").await;
    assert_eq!(browser.get("/value").await.body, "Some(43)");
    browser.get("/remove").await;
    assert_eq!(browser.get("/value").await.body, "None");
}

#[tokio::test]
async fn inactivity_ends_a_session() {
    let mut browser = Browser::new(Some(Duration::seconds(1)));
    browser.get("/put/42").await;
    assert_eq!(browser.get("/value").await.body, "Some(42)");
    tokio::time::sleep(StdDuration::from_millis(1_100)).await;
    assert_eq!(browser.get("/value").await.body, "None");
}

#[tokio::test]
async fn another_id_has_the_same_values_and_the_old_one_none() {
    let mut browser = Browser::new(Some(Duration::hours(1)));
    let before = browser.get("/put/42").await.cookie.expect("set");
    let after = browser.get("/cycle").await.cookie.expect("set");
    assert_ne!(before.value(), after.value());
    assert_eq!(browser.get("/value").await.body, "Some(42)");
    browser.cookie = Some(before.value().to_owned());
    assert_eq!(browser.get("/value").await.body, "None");
}

#[tokio::test]
async fn an_end_takes_the_cookie_too() {
    let mut browser = Browser::new(Some(Duration::hours(1)));
    let kept = browser.get("/put/42").await.cookie.expect("set");
    let taken = browser.get("/flush").await.cookie.expect("set");
    assert_eq!((taken.value(), taken.max_age()), ("", Some(Duration::ZERO)));
    browser.cookie = Some(kept.value().to_owned());
    assert_eq!(browser.get("/value").await.body, "None", "a cookie that was kept still works");
}
