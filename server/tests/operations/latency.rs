//! `LATENCY`, and the figures of `INFO` that tell how long commands take.

use super::super::{integer, server, words};
use crate::support::{Client, Value};

fn section(client: &mut Client, name: &str) -> Vec<String> {
    client.command(&format!("INFO {name}")).text().lines().map(str::to_owned).collect()
}

#[test]
fn what_takes_as_long_as_the_threshold_is_an_event() {
    let server = server();
    let mut client = server.client();
    client.command("DEBUG SLEEP 0.02");
    assert_eq!(client.command("LATENCY LATEST"), Value::Array(Vec::new()), "it is off");
    client.command("CONFIG SET latency-monitor-threshold 15");
    client.command("DEBUG SLEEP 0.02");
    let latest = client.command("LATENCY LATEST");
    let command = latest.items().iter().find(|event| event.items()[0] == Value::bulk("command"));
    let command = command.unwrap_or_else(|| panic!("{latest:?}")).items();
    assert!(integer(&command[2]) >= 20 && integer(&command[3]) >= integer(&command[2]), "{latest:?}");
    let history = client.command("LATENCY HISTORY command");
    assert!(integer(&history.items()[0].items()[1]) >= 20, "{history:?}");
    assert_eq!(client.command("LATENCY HISTORY nosuch"), Value::Array(Vec::new()));
    assert!(client.command("LATENCY GRAPH command").text().starts_with("command - high "));
    assert_eq!(
        client.command("LATENCY GRAPH nosuch"),
        Value::Error("ERR No samples available for event 'nosuch'".to_owned())
    );
    assert!(client.command("LATENCY DOCTOR").text().contains("1. command: "));
    assert_eq!(client.command("LATENCY RESET nosuch"), Value::Integer(0));
    assert!(integer(&client.command("LATENCY RESET")) >= 1);
}

/// A fast command is timed once in 64 calls: what is shown is extrapolated to all of them.
#[test]
fn every_call_is_in_the_histogram() {
    let server = server();
    let mut client = server.client();
    for _ in 0..100 {
        client.command("GET a");
    }
    client.command("SET a 1");
    client.command("CLIENT ID");
    let shown = client.command("LATENCY HISTOGRAM get SET client nosuch");
    let shown = shown.items();
    assert_eq!(shown.len(), 6, "{shown:?}");
    for (index, (name, calls)) in [("get", 100), ("set", 1), ("client|id", 1)].into_iter().enumerate() {
        assert_eq!(shown[index * 2], Value::bulk(name));
        let figures = shown[index * 2 + 1].items();
        assert_eq!(figures[..2], [Value::bulk("calls"), Value::Integer(calls)]);
        assert_eq!(figures[3].items().last(), Some(&Value::Integer(calls)), "{figures:?}");
    }
    let figures = section(&mut client, "latencystats");
    let get = figures.iter().find(|line| line.starts_with("latency_percentiles_usec_get:p50="));
    assert!(get.is_some_and(|line| line.contains(",p99=") && line.contains(",p99.9=")), "{figures:?}");
    let figures = section(&mut client, "commandstats");
    assert!(figures.iter().any(|line| line.starts_with("cmdstat_get:calls=100,usec=")), "{figures:?}");

    client.command("CONFIG RESETSTAT");
    assert_eq!(client.command("LATENCY HISTOGRAM get"), Value::Array(Vec::new()));
    client.command("CONFIG SET latency-tracking no");
    client.command("GET a");
    assert_eq!(client.command("LATENCY HISTOGRAM get"), Value::Array(Vec::new()));
}

#[test]
fn percentiles_are_checked_and_written_as_redis_writes_them() {
    let server = server();
    let mut client = server.client();
    let mut set = |value: &str| {
        client.call(&["CONFIG", "SET", "latency-tracking-info-percentiles", value]).expect("a reply")
    };
    assert_eq!(set("50.5000000 1e1 99.99999999"), Value::ok());
    assert!(set("150").is_error("ERR CONFIG SET failed"));
    assert!(set("NaN").is_error("ERR CONFIG SET failed"));
    assert!(set("abc").is_error("ERR CONFIG SET failed"));
    let shown = client.command("CONFIG GET latency-tracking-info-percentiles");
    assert_eq!(words(&shown)[1], "50.5 10 100");
}
