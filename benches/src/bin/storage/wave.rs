//! Many sessions die within one second, while others are read at a fixed rate: when they are gone, when their memory and disk space are back,
//! and what the readers notice.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sessile_benches::client::Client;
use sessile_benches::open_loop::{self, Plan, microseconds};
use sessile_benches::population::{self, Dying, USER_BYTES};
use sessile_benches::report::{Aim, Report};
use sessile_benches::server::{Program, Server};

use crate::files::Occupied;
use crate::{Failure, Setting};

/// Sessions that live on and are read.
const OTHERS: u64 = 100_000;
const RATE: u64 = 20_000;

/// Where the dying begin; the others are below.
const DYING_FROM: u64 = 1 << 40;

const QUIET: usize = 0;
const WAVE: usize = 1;
const UNMEASURED: usize = 2;

/// How long after the last deadline is looked.
const WATCHED: Duration = Duration::from_secs(12);

struct Outcome {
    /// All in seconds after the last deadline; `None`: not while it was watched.
    gone: Option<f64>,
    memory_back: Option<f64>,
    disk_back: Option<f64>,
    memory_held_mib: f64,
    disk_held_mib: f64,
    left_percent_after_1_s: f64,
    quiet: [f64; 3],
    wave: [f64; 3],
}

pub(crate) fn run(setting: &Setting) -> Result<Report, Failure> {
    let dying = setting.sessions(1_000_000, 1_000_000);
    let redis = setting.redis.as_ref().map(|program| measure(setting, program, dying)).transpose()?;
    let sessile = measure(setting, &setting.sessile, dying)?;
    let mut report = Report::new(format!(
        "{dying} sessions of {USER_BYTES} B die within one second, {OTHERS} others under {RATE} GET/s"
    ));
    let never = f64::INFINITY;
    let of = |pick: &dyn Fn(&Outcome) -> f64| (pick(&sessile), redis.as_ref().map(pick));
    let mut row = |what: &str, unit: &str, (sessile, redis): (f64, Option<f64>), aim: Aim| {
        report.row(what, unit, sessile, redis, aim);
    };
    row("all gone, after the last deadline", "s", of(&|o| o.gone.unwrap_or(never)), Aim::AtMost(1.0));
    row("  still there a second after it", "%", of(&|o| o.left_percent_after_1_s), Aim::None);
    row("memory back (nine tenths of it)", "s", of(&|o| o.memory_back.unwrap_or(never)), Aim::AtMost(3.0));
    row("  still held at the end", "MiB", of(&|o| o.memory_held_mib), Aim::None);
    row("disk space back (nine tenths of it)", "s", of(&|o| o.disk_back.unwrap_or(never)), Aim::AtMost(3.0));
    row("  still held at the end", "MiB", of(&|o| o.disk_held_mib), Aim::None);
    for (place, name) in ["p50", "p99", "p99.9"].into_iter().enumerate() {
        row(&format!("GET {name}, quiet"), "µs", of(&|o| o.quiet[place]), Aim::None);
        row(&format!("GET {name}, meanwhile"), "µs", of(&|o| o.wave[place]), Aim::None);
    }
    row("GET p99, meanwhile to quiet", "×", of(&|o| o.wave[1] / o.quiet[1]), Aim::AtMost(2.0));
    report.note(format!(
        "∞: not within {} s. Disk: all files for Redis, those without the log for Sessile, which had made a checkpoint of the dying before. Latencies count from the moment a request is due.",
        WATCHED.as_secs()
    ));
    Ok(report)
}

/// What is held, of memory and of disk.
fn held(server: &Server, program: &Program) -> Result<(u64, u64), Failure> {
    let occupied = Occupied::of(server.directory())?;
    let disk =
        if matches!(program, Program::Sessile(..)) { occupied.without_log() } else { occupied.total() };
    Ok((server.resident_bytes()?, disk))
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn sleep_until_ms(at_ms: u64) {
    std::thread::sleep(Duration::from_millis(at_ms.saturating_sub(now_ms())));
}

fn measure(setting: &Setting, program: &Program, dying: u64) -> Result<Outcome, Failure> {
    let (server, mut client) = setting.start(program)?;
    population::fill(server.port(), 0..OTHERS, Dying::After(7200))?;
    save(program, &mut client)?;
    let before = held(&server, program)?;
    // Time to make them, to write them, and for five quiet seconds.
    let patience_ms = 15_000 + dying / 40;
    let first_ms = now_ms() + patience_ms;
    population::fill(server.port(), DYING_FROM..DYING_FROM + dying, Dying::Within(first_ms))?;
    save(program, &mut client)?;
    if now_ms() + 6_000 > first_ms {
        return Err("loading took too long; use fewer --sessions".into());
    }
    let full = held(&server, program)?;
    let plan =
        Plan { rate: RATE, connections: 16, sessions: 0..OTHERS, touches_percent: 0, writes_percent: 0 };
    let load = open_loop::start(server.port(), plan)?;
    load.enter(UNMEASURED);
    sleep_until_ms(first_ms.saturating_sub(5_000));
    load.enter(QUIET);
    sleep_until_ms(first_ms);
    load.enter(WAVE);
    sleep_until_ms(first_ms + 1000);
    let last_deadline = Instant::now();

    let growth = (full.0.saturating_sub(before.0), full.1.saturating_sub(before.1));
    let is_back = |held: u64, before: u64, growth: u64| held <= before + growth / 10;
    let (mut gone, mut memory_back, mut disk_back) = (None, None, None);
    let mut left_after_1_s = None;
    let mut left_wave = false;
    loop {
        let since = last_deadline.elapsed();
        if !load.is_running() {
            // It failed: what it failed with is told by `finish`.
            break;
        }
        let left = client.number("DBSIZE")?.saturating_sub(OTHERS);
        if since >= Duration::from_secs(1) && left_after_1_s.is_none() {
            left_after_1_s = Some(left);
        }
        if left == 0 && gone.is_none() {
            gone = Some(since.as_secs_f64());
        }
        let now = held(&server, program)?;
        if is_back(now.0, before.0, growth.0) && memory_back.is_none() {
            memory_back = Some(since.as_secs_f64());
        }
        if is_back(now.1, before.1, growth.1) && disk_back.is_none() {
            disk_back = Some(since.as_secs_f64());
        }
        // The wave is over with the last of: they are gone, their memory and their disk space are back; two seconds at least.
        let over = gone.is_some() && memory_back.is_some() && disk_back.is_some();
        if over && since >= Duration::from_secs(2) && !left_wave {
            load.enter(UNMEASURED);
            left_wave = true;
        }
        if since >= WATCHED {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let latencies = load.finish()?;
    let quantiles = |phase: usize| [0.5, 0.99, 0.999].map(|q| microseconds(&latencies[phase], q));
    let after = held(&server, program)?;
    population::read_back(server.port(), 0..OTHERS, OTHERS, 0)?.all_right()?;
    let mebibytes = |now: u64, before: u64| now.saturating_sub(before) as f64 / 1_048_576.0;
    Ok(Outcome {
        gone,
        memory_back,
        disk_back,
        memory_held_mib: mebibytes(after.0, before.0),
        disk_held_mib: mebibytes(after.1, before.1),
        left_percent_after_1_s: left_after_1_s.unwrap_or(0) as f64 * 100.0 / dying as f64,
        quiet: quantiles(QUIET),
        wave: quantiles(WAVE),
    })
}

/// What is in the log only becomes segments; Redis has nothing to do: its append-only file is all there is.
fn save(program: &Program, client: &mut Client) -> Result<(), Failure> {
    if matches!(program, Program::Sessile(..)) {
        client.save()?;
    }
    Ok(())
}
