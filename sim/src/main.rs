//! `sessile-sim`: see `sessile-sim --help`.

use sessile_sim::run::{Violation, run, run_traced};
use sessile_sim::simulation::{End, Length, Plan};
use sessile_sim::tally::Tally;
use sessile_wal::{Clock, Durability, SystemClock};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const HELP: &str = "\
Sessile on a simulated machine: crashes it, reads back, and compares with what was promised.

  sessile-sim [--seeds N | --minutes M] [--from S] [--jobs J]   a campaign
  sessile-sim --seed S [--trace]                                one seed again; --trace tells all that happens

  --seeds N       so many seeds (1000)
  --minutes M     as many seeds as go into so many minutes
  --from S        the first seed (0)
  --jobs J        threads (2)
  --lives N, --turns N       lives of each seed (4), turns in each at most (60)
  --end power-cut|kill       how every life ends (any)
  --appendfsync always|everysec|no   throughout (drawn, and changed on the way)
  --sound         calls of the disk don't fail; the machine still dies in any of them
";

struct Arguments {
    seed: Option<u64>,
    trace: bool,
    from: u64,
    seeds: u64,
    minutes: Option<f64>,
    jobs: u64,
    plan: Plan,
}

fn arguments() -> Result<Option<Arguments>, lexopt::Error> {
    use lexopt::prelude::{Long, ValueExt};
    let mut length = Length::default();
    let mut all = Arguments {
        seed: None,
        trace: false,
        from: 0,
        seeds: 1000,
        minutes: None,
        jobs: 2,
        plan: Plan::default(),
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") => return Ok(None),
            Long("seed") => all.seed = Some(parser.value()?.parse()?),
            Long("trace") => all.trace = true,
            Long("from") => all.from = parser.value()?.parse()?,
            Long("seeds") => all.seeds = parser.value()?.parse()?,
            Long("minutes") => all.minutes = Some(parser.value()?.parse()?),
            Long("jobs") => all.jobs = parser.value()?.parse()?,
            Long("lives") => length.lives = parser.value()?.parse()?,
            Long("turns") => length.turns = parser.value()?.parse()?,
            Long("end") => {
                all.plan.end = match &*parser.value()?.string()? {
                    "power-cut" => End::PowerCut,
                    "kill" => End::Kill,
                    other => return Err(format!("no end: {other}").into()),
                }
            }
            Long("appendfsync") => {
                all.plan.durability = Some(match &*parser.value()?.string()? {
                    "always" => Durability::Always,
                    "everysec" => Durability::EverySecond,
                    "no" => Durability::No,
                    other => return Err(format!("no durability: {other}").into()),
                });
            }
            Long("sound") => all.plan.faults = false,
            other => return Err(other.unexpected()),
        }
    }
    all.plan.length = length;
    Ok(Some(all))
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    // A violation is told with its seed, once.
    std::panic::set_hook(Box::new(|_| {}));
    match arguments.seed {
        Some(seed) => one(seed, &arguments),
        None => campaign(&arguments),
    }
}

fn one(seed: u64, arguments: &Arguments) -> ExitCode {
    let (outcome, lines) = run_traced(seed, arguments.plan);
    if arguments.trace {
        for line in &lines {
            println!("{line}");
        }
    }
    match outcome {
        Ok(tally) => {
            table(&tally);
            println!("seed {seed}: nothing found");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("seed {seed}: {}", violation.what);
            ExitCode::FAILURE
        }
    }
}

fn campaign(arguments: &Arguments) -> ExitCode {
    let begun_ns = SystemClock.monotonic_ns();
    let seconds = || (SystemClock.monotonic_ns() - begun_ns) as f64 / 1e9;
    let next = AtomicU64::new(arguments.from);
    let over = AtomicBool::new(false);
    let total = Mutex::new((Tally::default(), 0u64, Vec::<Violation>::new()));
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(|| {
                let (mut tally, mut count) = (Tally::default(), 0);
                while !over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let done = match arguments.minutes {
                        Some(minutes) => seconds() > minutes * 60.0,
                        None => seed >= arguments.from + arguments.seeds,
                    };
                    if done {
                        break;
                    }
                    count += 1;
                    match run(seed, arguments.plan) {
                        Ok(met) => tally.join(&met),
                        Err(violation) => {
                            println!(
                                "seed {seed}: {}\n  replay it with: just sim --seed {seed} --trace",
                                violation.what
                            );
                            if let Ok(mut total) = total.lock() {
                                total.2.push(violation);
                                // More of the same help nobody.
                                over.fetch_or(total.2.len() >= 10, Ordering::Relaxed);
                            }
                        }
                    }
                }
                if let Ok(mut total) = total.lock() {
                    total.0.join(&tally);
                    total.1 += count;
                }
            });
        }
    });
    let Ok((tally, count, violations)) = total.into_inner() else { return ExitCode::FAILURE };
    table(&tally);
    let seconds = seconds();
    println!(
        "{count} seeds from {} in {seconds:.1} s with {} jobs, {:.0} a minute; {} violations",
        arguments.from,
        arguments.jobs,
        count as f64 / seconds * 60.0,
        violations.len()
    );
    for violation in &violations {
        println!("  seed {}: {}", violation.seed, violation.what.lines().next().unwrap_or_default());
    }
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn table(tally: &Tally) {
    for (what, figure) in tally.rows() {
        println!("{figure:>12}  {what}");
    }
}
