//! `LATENCY`: shows what the [latency monitor](crate::latency) has noted, and how long commands take.

use super::flags::{ADMIN, LOADING, NOSCRIPT, STALE};
use super::object::write_help;
use super::table::{Entry, table};
use super::{Command, CommandError, CommandResult, KeySpec, Run, ServerCall};
use crate::latency::{COMMAND, Distribution, Event, FAST_COMMAND, FSYNC};
use crate::server::Server;
use std::fmt::Write;

/// Columns of `LATENCY GRAPH`.
const GRAPH_COLUMNS: usize = 80;
/// Its rows.
const GRAPH_ROWS: usize = 4;
/// What the top of a column looks like, from low to high within its row.
const GRAPH_TOPS: [u8; 3] = *b"_o#";

const ROW: Command = Command {
    name: "",
    arity: 2,
    flags: ADMIN | NOSCRIPT | LOADING | STALE,
    keys: KeySpec::None,
    categories: &[],
    group: "server",
    since: "2.8.13",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "latency",
    arity: -2,
    flags: 0,
    summary: "What took long, and how long commands take",
    complexity: "Depends on the subcommand.",
    subcommands: &[
        Command { name: "doctor", summary: "Advice, for people", run: Run::Server(doctor), ..ROW },
        Command {
            name: "graph",
            arity: 3,
            summary: "An event's samples, drawn",
            run: Run::Server(graph),
            ..ROW
        },
        Command {
            name: "help",
            flags: LOADING | STALE,
            summary: "Lists the subcommands",
            run: Run::Server(help),
            ..ROW
        },
        Command {
            name: "histogram",
            arity: -2,
            since: "7.0.0",
            summary: "How many calls of commands took how long",
            complexity: "O(N) where N is the number of commands with latency information being retrieved.",
            run: Run::Server(histogram),
            ..ROW
        },
        Command {
            name: "history",
            arity: 3,
            summary: "An event's samples",
            run: Run::Server(history),
            ..ROW
        },
        Command {
            name: "latest",
            summary: "The latest sample of every event",
            run: Run::Server(latest),
            ..ROW
        },
        Command { name: "reset", arity: -2, summary: "Forgets events", run: Run::Server(reset), ..ROW },
    ],
    ..ROW
}];

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn history(call: &mut ServerCall<'_>) -> CommandResult {
    let event = call.worker.server.latency.event(call.args[2]).unwrap_or_default().1;
    call.reply.array(event.samples.len());
    for sample in &event.samples {
        call.reply.array(2);
        call.reply.integer(integer(sample.at_seconds));
        call.reply.integer(integer(sample.milliseconds));
    }
    Ok(())
}

fn latest(call: &mut ServerCall<'_>) -> CommandResult {
    let events = call.worker.server.latency.all();
    call.reply.array(events.len());
    for (name, event) in events {
        let (at_seconds, milliseconds) =
            event.samples.back().map_or((0, 0), |sample| (sample.at_seconds, sample.milliseconds));
        call.reply.array(4);
        call.reply.bulk(name.as_bytes());
        for number in [at_seconds, milliseconds, event.milliseconds_max] {
            call.reply.integer(integer(number));
        }
    }
    Ok(())
}

fn reset(call: &mut ServerCall<'_>) -> CommandResult {
    // A count of what is in memory fits.
    call.reply.integer(call.worker.server.latency.reset(&call.args[2..]) as i64);
    Ok(())
}

/// The calls of a command, of all loops, and how long those took that were timed.
pub fn distribution(server: &Server, entry_number: u16) -> (u64, Distribution) {
    let loops = server.figures.lock().clone();
    let commands = || loops.iter().filter_map(|figures| figures.commands.get(usize::from(entry_number)));
    let calls = commands().map(|figures| figures.calls.get()).sum();
    (calls, Distribution::of(commands().filter_map(|figures| figures.histogram.get()).map(|boxed| &**boxed)))
}

fn histogram(call: &mut ServerCall<'_>) -> CommandResult {
    let mut entries: Vec<&Entry> = Vec::new();
    let mut add = |entry: &'static Entry| {
        entries.push(entry);
        entries.extend(&entry.subcommands);
    };
    if call.args.len() == 2 {
        table().entries().iter().for_each(add);
    } else {
        call.args[2..].iter().filter_map(|name| table().find_full(name)).for_each(&mut add);
    }
    let server = &call.worker.server;
    let shown: Vec<_> = entries
        .into_iter()
        .map(|entry| (entry, distribution(server, entry.number)))
        .filter(|(_, (calls, distribution))| *calls > 0 && !distribution.is_empty())
        .collect();
    call.reply.map(shown.len());
    for (entry, (calls, distribution)) in shown {
        call.reply.bulk(entry.full_name.as_bytes());
        call.reply.map(2);
        call.reply.bulk(b"calls");
        call.reply.integer(integer(calls));
        call.reply.bulk(b"histogram_usec");
        let bounds = distribution.cumulative(calls);
        call.reply.map(bounds.len());
        for (microseconds, count) in bounds {
            call.reply.integer(integer(microseconds));
            call.reply.integer(integer(count));
        }
    }
    Ok(())
}

fn graph(call: &mut ServerCall<'_>) -> CommandResult {
    let Some((name, event)) = call.worker.server.latency.event(call.args[2]) else {
        let name = String::from_utf8_lossy(call.args[2]);
        return Err(CommandError::of(format!("ERR No samples available for event '{name}'")));
    };
    let text = drawn(name, &event, call.worker.now_ms / 1000);
    call.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// An event's samples as columns over how long ago they were, written downwards.
fn drawn(name: &str, event: &Event, now_seconds: u64) -> String {
    let values = || event.samples.iter().map(|sample| sample.milliseconds);
    let (low, high) = (values().min().unwrap_or(0), values().max().unwrap_or(0));
    let mut text = format!(
        "{name} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        event.milliseconds_max,
        "-".repeat(GRAPH_COLUMNS)
    );
    let levels = (GRAPH_ROWS * GRAPH_TOPS.len()) as u64;
    let columns: Vec<(usize, String)> = event
        .samples
        .iter()
        .map(|sample| {
            let level = (sample.milliseconds - low) * levels / (high - low).max(1);
            let seconds = now_seconds.saturating_sub(sample.at_seconds);
            let ago = match seconds {
                0..60 => format!("{seconds}s"),
                60..3600 => format!("{}m", seconds / 60),
                3600..86_400 => format!("{}h", seconds / 3600),
                _ => format!("{}d", seconds / 86_400),
            };
            (level.min(levels - 1) as usize, ago)
        })
        .collect();
    for (part, columns) in columns.chunks(GRAPH_COLUMNS).enumerate() {
        if part > 0 {
            text.push('\n');
        }
        for row in (0..GRAPH_ROWS).rev() {
            let floor = row * GRAPH_TOPS.len();
            text.extend(columns.iter().map(|(level, _)| match level.checked_sub(floor) {
                None => ' ',
                Some(above) => GRAPH_TOPS.get(above).map_or('|', |top| char::from(*top)),
            }));
            text.push('\n');
        }
        text.extend(std::iter::repeat_n(' ', columns.len()));
        text.push('\n');
        let longest = columns.iter().map(|(_, ago)| ago.len()).max().unwrap_or(0);
        for place in 0..longest {
            text.extend(
                columns
                    .iter()
                    .map(|(_, ago)| ago.as_bytes().get(place).map_or(' ', |byte| char::from(*byte))),
            );
            text.push('\n');
        }
    }
    text
}

fn doctor(call: &mut ServerCall<'_>) -> CommandResult {
    let events = call.worker.server.latency.all();
    let live = &call.worker.live;
    let text = if live.latency_ms_min == u64::MAX {
        "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Sessile instance. You may use \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order to enable it.\n".to_owned()
    } else if events.is_empty() {
        "Dave, no latency spike was observed during the lifetime of this Sessile instance, not in the slightest bit.\n".to_owned()
    } else {
        report(&events, live.slow_us_min, live.latency_ms_min)
    };
    call.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// What was seen, and what could be done about it.
fn report(events: &[(&str, Event)], slow_us_min: u64, latency_ms_min: u64) -> String {
    let mut text = "Dave, I have observed latency spikes in this Sessile instance.\n\n".to_owned();
    for (index, (name, event)) in events.iter().enumerate() {
        let count = event.samples.len().max(1) as u64;
        let average = event.samples.iter().map(|sample| sample.milliseconds).sum::<u64>() / count;
        let deviation =
            event.samples.iter().map(|sample| sample.milliseconds.abs_diff(average)).sum::<u64>() / count;
        let period = match (event.samples.front(), event.samples.back()) {
            (Some(first), Some(last)) => (last.at_seconds - first.at_seconds) as f64 / count as f64,
            _ => 0.0,
        };
        // Writing into a String can't fail.
        let _ = writeln!(
            text,
            "{}. {name}: {count} latency spikes (average {average}ms, mean deviation {deviation}ms, period {period:.2} sec). Worst all time event {}ms.",
            index + 1,
            event.milliseconds_max
        );
    }
    text.push_str("\nI have a few advices for you:\n\n");
    let saw = |event: &str| events.iter().any(|(name, _)| *name == event);
    if saw(COMMAND) || saw(FAST_COMMAND) {
        if slow_us_min == u64::MAX {
            text.push_str("- The slow log is off. Use 'CONFIG SET slowlog-log-slower-than 1000' to see which commands take long.\n");
        } else if slow_us_min / 1000 > latency_ms_min {
            text.push_str("- The slow log only keeps commands that take longer than the latency monitor's threshold. Use 'CONFIG SET slowlog-log-slower-than 1000'.\n");
        }
        text.push_str(
            "- Look at SLOWLOG GET for commands that take long: walks over large collections, and scripts.\n",
        );
    }
    if saw(FAST_COMMAND) {
        text.push_str("- Commands took long that do little work, so the machine did not run them: lower its load, or give the server cores of its own.\n");
    }
    if saw(FSYNC) {
        text.push_str("- The disk is slow to make writes durable. Use a faster one, or 'CONFIG SET appendfsync everysec' if a power cut may cost the last second.\n");
    }
    text
}

fn help(call: &mut ServerCall<'_>) -> CommandResult {
    write_help(
        call.reply,
        &[
            "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "DOCTOR",
            "    Return a human readable latency analysis report.",
            "GRAPH <event>",
            "    Return an ASCII latency graph for the <event> class.",
            "HISTORY <event>",
            "    Return time-latency samples for the <event> class.",
            "LATEST",
            "    Return the latest latency samples for all events.",
            "RESET [<event> ...]",
            "    Reset latency data of one or more <event> classes.",
            "    (default: reset all data for all event classes)",
            "HISTOGRAM [COMMAND ...]",
            "    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.",
            "    If no commands are specified then all histograms are replied.",
            "HELP",
            "    Prints this help.",
        ],
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Sample;

    #[test]
    fn samples_are_drawn_as_redis_draws_them() {
        let mut event = Event { milliseconds_max: 99, ..Event::default() };
        for (at_seconds, milliseconds) in [(1000, 10), (3500, 16), (3599, 22)] {
            event.samples.push_back(Sample { at_seconds, milliseconds });
        }
        let dashes = "-".repeat(80);
        assert_eq!(
            drawn("command", &event, 3600),
            format!(
                "command - high 22 ms, low 10 ms (all time high 99 ms)\n{dashes}\n  #\n _|\n ||\n_||\n   \n411\n3ms\nm  \n"
            )
        );
    }
}
