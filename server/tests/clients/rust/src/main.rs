//! redis-rs and tower-sessions' Redis store against a server on `REDIS_PORT`. The first wrong answer panics, which ends the process with
//! another status than 0.

use redis::{AsyncTypedCommands, Script};
use std::time::Duration;
use time::OffsetDateTime;
use tower_sessions_core::{SessionStore, session::Record};
use tower_sessions_redis_store::{RedisStore, fred::prelude::*};

async fn redis_rs(port: &str) {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}/?protocol=resp3")).expect("a URL");
    let mut one = client.get_multiplexed_async_connection().await.expect("connect");
    let _: () = redis::cmd("FLUSHALL").query_async(&mut one).await.expect("FLUSHALL");

    // A pipeline in MULTI, on a connection that others share.
    let (count, turns): (usize, Vec<String>) = redis::pipe()
        .atomic()
        .rpush("chat", &["a", "b", "c"])
        .ltrim("chat", -2, -1)
        .ignore()
        .lrange("chat", 0, -1)
        .expire("chat", 60)
        .ignore()
        .query_async(&mut one)
        .await
        .expect("a transaction");
    assert_eq!((count, turns), (3, vec!["b".to_owned(), "c".to_owned()]));

    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1]) + #KEYS");
    let sums: Vec<i64> = {
        let mut sums = Vec::new();
        for by in [5, 6] {
            sums.push(script.key("sum").arg(by).invoke_async(&mut one).await.expect("a script"));
        }
        sums
    };
    assert_eq!(sums, [6, 12]);

    // A thousand requests in flight over one connection, each with its own answer.
    let tasks: Vec<_> = (0..1000)
        .map(|number| {
            let mut shared = one.clone();
            tokio::spawn(async move {
                let key = format!("key:{number}");
                shared.set_ex(&key, number, 100).await.expect("SET");
                assert_eq!(shared.get(&key).await.expect("GET"), Some(number.to_string()));
                assert!(shared.ttl(&key).await.is_ok());
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("an answer");
    }
    one.zadd("ends", "a", 2).await.expect("ZADD");
    one.zadd("ends", "b", 1).await.expect("ZADD");
    assert_eq!(one.zrange("ends", 0, -1).await.expect("ZRANGE"), ["b", "a"]);
    assert_eq!(one.hset("hash", "field", "value").await.expect("HSET"), 1);
    let wrong = one.lpush("hash", 1).await.expect_err("a wrong type");
    assert_eq!(wrong.code(), Some("WRONGTYPE"));
}

async fn tower_sessions(port: &str) {
    let config = Config::from_url(&format!("redis://127.0.0.1:{port}")).expect("a URL");
    let pool = Pool::new(config, None, None, None, 4).expect("a pool");
    let _connection = pool.init().await.expect("connect");
    let store = RedisStore::new(pool.clone());
    let in_a_minute = OffsetDateTime::now_utc() + time::Duration::seconds(60);
    let mut record = Record { id: Default::default(), data: Default::default(), expiry_date: in_a_minute };
    store.create(&mut record).await.expect("create");
    record.data.insert("user".into(), "ann".into());
    store.save(&record).await.expect("save");
    assert_eq!(store.load(&record.id).await.expect("load"), Some(record.clone()));
    record.expiry_date = OffsetDateTime::now_utc() + time::Duration::milliseconds(1500);
    store.save(&record).await.expect("save");
    tokio::time::sleep(Duration::from_millis(1800)).await;
    assert_eq!(store.load(&record.id).await.expect("load"), None);
    // Saving has no key to replace any more.
    record.expiry_date = in_a_minute;
    let _ = store.save(&record).await;
    assert_eq!(store.load(&record.id).await.expect("load"), None);
    let mut other = Record { id: Default::default(), ..record };
    store.create(&mut other).await.expect("create");
    store.delete(&other.id).await.expect("delete");
    assert_eq!(store.load(&other.id).await.expect("load"), None);
}

#[tokio::main]
async fn main() {
    let port = std::env::var("REDIS_PORT").expect("REDIS_PORT says where the server is");
    redis_rs(&port).await;
    tower_sessions(&port).await;
    println!("done");
}
